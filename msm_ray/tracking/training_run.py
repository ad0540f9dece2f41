"""A training's run: its curves, what it was made from and what it made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray import training_metrics
from msm_ray.graph.artifacts import Artifact, is_committed, read_artifact
from msm_ray.tracking import names
from msm_ray.tracking.run import Tracker, open_run

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

CURVES = {"loss": "loss", "lr": "learning_rate", "grad_norm": "gradient_norm"}
"""Columns of `metrics.jsonl` -> what they are called in W&B."""


@contextlib.contextmanager
def opened(name: names.RunName, config: Mapping[str, Any]) -> Iterator[Tracker]:
    """The tracker of a training, with `step` as what its curves are drawn over."""
    with open_run(name, config) as tracker:
        tracker.define("step")
        yield tracker


def finished(tracker: Tracker, counts: Mapping[str, Any], out: Path, *inputs: Path) -> None:
    """Note what a training came to, and which artifacts it used and made; a folder that is none is left out."""
    tracker.summary({key: n for key, n in counts.items() if isinstance(n, int | float)})
    for folder in inputs:
        if is_committed(folder):
            tracker.reference(read_artifact(folder), used=True)
    if is_committed(out):
        tracker.reference(read_artifact(out))


def from_artifact(
    settings: ExperimentSettings, root: Path, artifact: Artifact, made_from: Mapping[str, Artifact]
) -> None:
    """Make a training's run anew from what it left: offline, every step, without the rate in
    tokens/s, which no artifact holds."""
    name = replace(names.training_run(settings, root, artifact.record), offline=True)
    with opened(name, artifact.record["settings"]) as tracker:
        for row in training_metrics.read(artifact.folder):
            tracker.log({"step": row["step"], **{ours: row[key] for key, ours in CURVES.items()}})
        folders = [made_from[key].folder for key in artifact.record["inputs"] if key in made_from]
        finished(tracker, artifact.counts, artifact.folder, *folders)
