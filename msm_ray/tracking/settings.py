"""Settings of W&B."""

from __future__ import annotations

from typing import Literal

from msm_ray.settings_base import Settings


class TrackingSettings(Settings):
    """Weights & Biases. WANDB_MODE in the environment wins over `mode`."""

    project: str = "msm_ray"
    """W&B project that runs go to."""
    entity: str | None = None
    """User or team that has the project. None: WANDB_ENTITY, else the one that the key says."""
    mode: Literal["online", "offline", "disabled"] = "offline"
    """Sent as it happens, kept below the root, or nothing at all."""
    texts: bool = True
    """`false`: documents, chats, transcripts, questions and all settings that are text stay here; numbers and names are sent."""
