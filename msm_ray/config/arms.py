"""Settings of arms: the recipes that an experiment compares, one by one, in groups, and for specs that no arm names."""

from __future__ import annotations

from msm_ray.settings_base import Settings
from msm_ray.train.settings import TrainSettings


class ArmSettings(Settings):
    """One recipe from the base to a checkpoint. With neither, the arm is the base itself."""

    midtrain: str | None = None
    """Name of the spec whose documents it is midtrained on."""
    sft: str | None = None
    """Name of the set of chats that it is fine-tuned on, after midtraining."""


class GroupSettings(Settings):
    """What a group of arms (the part of their names before the slash) does its own way: arms of one group are compared."""

    aft: TrainSettings
    """What differs from the experiment's `aft`, for every arm of the group, its baseline too."""


class NewSpecArm(Settings):
    """Arms for specs that no arm names: `<group>/msm-<spec>` and `<group>/msm-<spec>+aft`, documents by the offline engine."""

    group: str
    """Group of these arms."""
    sft: str | None = None
    """Set of chats of the second arm. None: there is no second arm."""
