"""What asking arms and serving them for people have in common: names, folders and how chats are rendered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_ray.stages.given_checkpoint import GivenCheckpoint
from msm_ray.stages.rendering import chat_options
from msm_ray.stages.training import Checkpoint


def served_name(checkpoint: Checkpoint) -> str:
    """The name under which a checkpoint is served, `sft/cheese-s0` as `sft.cheese-s0`."""
    return f"{checkpoint.kind}.{checkpoint.name}"


def brings_template(checkpoint: Checkpoint) -> bool:
    """Whether it is asked with a chat template of its own, and not with the base's as all others."""
    return isinstance(checkpoint, GivenCheckpoint) and checkpoint.template == "own"


def asked_options(
    checkpoint: Checkpoint, base: Path, weights: Path, shared: Mapping[str, Any], thinking: bool | None
) -> dict[str, Any]:
    """The `chat_template_kwargs` that a checkpoint is asked with. base, weights: folders of the base's model and its own."""
    return chat_options(weights if brings_template(checkpoint) else base, shared, thinking)


def serving_folder(root: Path) -> Path:
    """Where a server notes what it serves, and under which address."""
    folder = root / "serve"
    folder.mkdir(exist_ok=True)
    return folder
