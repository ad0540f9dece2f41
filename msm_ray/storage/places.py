"""From what a user gives to a path: a folder's, or a bucket's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from msm_ray.errors import SettingsError

SCHEMES = {"s3": "s3fs", "gs": "gcsfs"}
"""Addresses of buckets that can be roots -> the library that reads them."""
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


def place(given: str | Path) -> Path:
    """The path of a folder or of a bucket; what is a path already stays as it is.

    A bucket's is no `pathlib.Path`: it is told from one by `isinstance`, and typed as one since it has its methods. Raises
    SettingsError for the address of something else.
    """
    if not isinstance(given, str):
        return given
    if (address := ADDRESS.match(given)) is None:
        return Path(given)
    check_address(given, address[1])
    from msm_ray.storage.bucket import BucketPath

    return cast(Path, BucketPath(given.rstrip("/")))


def check_address(given: str, scheme: str | None = None) -> None:
    """Raise SettingsError for an address that no root can have; a folder's is always well."""
    scheme = scheme or (found[1] if (found := ADDRESS.match(given)) else None)
    if scheme is None:
        return
    if scheme not in SCHEMES or not re.match(rf"{scheme}://[^/]", given):
        forms = ", ".join(f"{name}://BUCKET/PREFIX" for name in SCHEMES)
        raise SettingsError(
            f"{given}: a root is a folder that every node sees, or a bucket ({forms}); what else there is has to be mounted "
            "as a folder"
        )
