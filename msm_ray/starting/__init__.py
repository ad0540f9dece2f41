"""An experiment of one's own to start from (`msm init`): the files of this folder, filled in."""

from msm_ray.starting.folder import SAID, Wishes, begin

__all__ = ["SAID", "Wishes", "begin"]
