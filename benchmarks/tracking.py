"""What W&B costs: `python -m benchmarks.tracking [--json] jobs/quickstart.yaml [key=value ...]`.

A finished root told anew, offline, into an empty folder: the run of the experiment with its tables, references and the Report's
specification, and the run of each training. With `tracking.mode=disabled` nothing of this is done.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurements import Measurement, show
from msm_ray.config.file import load_experiment
from msm_ray.graph.artifacts import Artifact
from msm_ray.graph.store import ArtifactStore
from msm_ray.pipeline import KINDS, unfold
from msm_ray.tracking import ExperimentRun, training_run, upload


def main() -> None:
    """Measure and print."""
    file, *overrides = [word for word in sys.argv[1:] if word != "--json"]
    settings = unfold(load_experiment(Path(file), overrides)).settings
    root = Path(settings.root)
    order = {kind.kind: place for place, kind in enumerate(KINDS)}
    made = sorted(ArtifactStore(root).all(), key=lambda a: order[a.stage])
    there = {f"{a.stage}/{a.name}": a for a in made}
    trainings = upload.trainings(there)

    def experiment() -> None:
        so_far: dict[str, Artifact] = {}
        with ExperimentRun(settings, root, offline=True) as run:
            for key, artifact in there.items():
                so_far[key] = artifact
                run.stage(artifact, so_far)

    def curves() -> None:
        for artifact in trainings:
            training_run.from_artifact(settings, root, artifact, there)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        seconds = {
            "wandb's import": _seconds(lambda: __import__("wandb")),
            f"the experiment's run, {len(there)} stages": _seconds(experiment),
            f"{len(trainings)} trainings' runs": _seconds(curves),
        }
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    rows = [Measurement(name, value, "s", None, "lower") for name, value in seconds.items()]
    show("W&B, offline", [*rows, Measurement("files", size / 2**20, "MiB", None, "lower")])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
