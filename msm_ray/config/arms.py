"""Settings of arms: the recipes that an experiment compares, one by one, in groups, and for specs that no arm names."""

from __future__ import annotations

from typing import Literal

from msm_ray.settings_base import Settings
from msm_ray.train.settings import TrainSettings


class ArmSettings(Settings):
    """One recipe from the base to a checkpoint, or a checkpoint that is given. With neither, the arm is the base itself."""

    midtrain: str | None = None
    """Name of the spec whose documents it is midtrained on."""
    sft: str | None = None
    """Name of the set of chats that it is fine-tuned on, after midtraining."""
    checkpoint: str | None = None
    """Weights that somebody else trained, in place of both: a folder or a hub id, of a LoRA adapter of the base or a full model
    of its shape. They are one set of weights, and so asked as one seed, whatever `seeds` says."""
    revision: str | None = None
    """Commit of a checkpoint from the hub. None: what its main branch is when it is fetched, which changes."""
    chat_template: Literal["base", "own"] | None = None
    """What a checkpoint is asked with: the base's chat template, or the one that it brings, if it does. None: the base's, and a
    checkpoint whose own renders a chat otherwise is refused."""
    thinking: bool | None = None
    """Whether a checkpoint reasons first, where its template has a switch for that. None: as `chat_template_kwargs` says."""

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong with it) of settings that can't stand together."""
        recipe = [key for key in ("midtrain", "sft") if getattr(self, key)]
        if self.checkpoint and recipe:
            why = f"the arm has {' and '.join(recipe)} too; an arm is trained here or a checkpoint that is given: make two of it"
            return [("checkpoint", why)]
        alone = [key for key in ("revision", "chat_template", "thinking") if getattr(self, key) is not None]
        why = "is for arms with a checkpoint, and this one has none; leave it out, or name a checkpoint"
        return [] if self.checkpoint else [(key, why) for key in alone]


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
