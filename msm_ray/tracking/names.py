"""Which run is which: ids that stay the same however often a run is interrupted, and where its files lie."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.tracking.settings import TrackingSettings

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

TOKEN = "root-id"
"""File in `<root>/wandb` that tells roots apart: two machines may well have the same path for theirs."""


@dataclass(frozen=True)
class RunName:
    """One W&B run. Picklable: workers open it.

    experiment: id of the experiment's run, which a training's run has in its configuration; folder: files lie in
    `<folder>/wandb`; offline: it is, whatever the settings say.
    """

    id: str
    experiment: str
    name: str
    job_type: str
    group: str
    folder: str
    settings: TrackingSettings
    offline: bool = False


def experiment_run(settings: ExperimentSettings, root: Path) -> RunName:
    """The run of an experiment in a root."""
    own = _experiment_id(settings, root)
    return RunName(
        own,
        own,
        settings.experiment,
        "experiment",
        settings.experiment,
        str(folder_of_runs(root)),
        settings.tracking,
    )


def training_run(settings: ExperimentSettings, root: Path, record: Mapping[str, Any]) -> RunName:
    """The run of a training: of this stage, version and settings, whoever resumes it and when. record: its artifact's."""
    parts = (record["stage"], record["name"], str(record["version"]), record["fingerprint"])
    return RunName(
        _hashed(_experiment_id(settings, root), *parts),
        _experiment_id(settings, root),
        f"{record['stage']}/{record['name']}",
        "training",
        settings.experiment,
        str(folder_of_runs(root)),
        settings.tracking,
    )


def _experiment_id(settings: ExperimentSettings, root: Path) -> str:
    return _hashed(root_token(root), settings.experiment)


def root_token(root: Path) -> str:
    """What tells this root from all others; made at the first call, and copied with the root."""
    path = root.resolve() / "wandb" / TOKEN
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(uuid.uuid4().hex)
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    return str(path)


def folder_of_runs(root: Path) -> Path:
    """WANDB_DIR, or the root where there is none, or none that can be written to (which is warned about)."""
    given = os.environ.get("WANDB_DIR")
    if given and _is_writable(Path(given)):
        return Path(given).resolve()
    if given:
        warnings.warn(
            f"WANDB_DIR={given} cannot be written to: W&B's files go to {root.resolve() / 'wandb'}; give a folder that can, "
            "or unset WANDB_DIR",
            stacklevel=2,
        )
    return root.resolve()


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
