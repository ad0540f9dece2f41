"""Where a root lies: a folder, or a bucket (`s3://`, `gs://`) that is read and written by the same words as one.

`place` makes a path of what a user gives. A folder stays a `pathlib.Path`; a bucket gives a `BucketPath`, over fsspec, with the
methods that artifacts need. What differs between the two stands in this room and nowhere else: how a file becomes whole, how an
artifact is removed, who may write (`lease.py`), and what needs real files (`copies.py`).
"""

from msm_ray.storage.copies import commit_desk, desk, here, local, mirrored
from msm_ray.storage.folders import digests, remove, sizes, sweep
from msm_ray.storage.lease import held, holder
from msm_ray.storage.listing import at_once
from msm_ray.storage.mirrors import bring_back, forget, mirror, move_in
from msm_ray.storage.places import SCHEMES, place
from msm_ray.storage.trouble import probe

__all__ = [
    "SCHEMES",
    "at_once",
    "bring_back",
    "commit_desk",
    "desk",
    "digests",
    "forget",
    "held",
    "here",
    "holder",
    "local",
    "mirror",
    "mirrored",
    "move_in",
    "place",
    "probe",
    "remove",
    "sizes",
    "sweep",
]
