"""What asking arms and serving them for people have in common: names and folders."""

from __future__ import annotations

from pathlib import Path

from msm_ray.stages.training import Checkpoint


def served_name(checkpoint: Checkpoint) -> str:
    """The name under which a checkpoint is served, `sft/cheese-s0` as `sft.cheese-s0`."""
    return f"{checkpoint.kind}.{checkpoint.name}"


def serving_folder(root: Path) -> Path:
    """Where a server notes what it serves, and under which address."""
    folder = root / "serve"
    folder.mkdir(exist_ok=True)
    return folder
