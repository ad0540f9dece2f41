"""What W&B costs: a finished root told anew, offline, into an empty folder.

    python -m benchmarks.tracking jobs/quickstart.yaml [key=value ...]

Prints seconds and bytes of the experiment's run, of its trainings' runs, and of the Report's specification. With
`tracking.mode=disabled` nothing of all this is done.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msm_ray.artifacts import Artifact, ArtifactStore
from msm_ray.experiment import KINDS, build
from msm_ray.settings_file import load_experiment
from msm_ray.tracking import ExperimentRun, publishing, report_spec, training_run, upload


def main() -> None:
    """Measure and print."""
    settings = build(load_experiment(Path(sys.argv[1]), sys.argv[2:])).settings
    root = Path(settings.root)
    there = {f"{a.stage}/{a.name}": a for a in sorted(ArtifactStore(root).all(), key=lambda a: KINDS.index(a.stage))}
    trainings = upload.trainings(there)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder

        def experiment() -> None:
            so_far: dict[str, Artifact] = {}
            with ExperimentRun(settings, root, offline=True) as run:
                for key, artifact in there.items():
                    so_far[key] = artifact
                    run.stage(artifact, so_far)

        def curves() -> None:
            for artifact in trainings:
                training_run.from_artifact(settings, root, artifact, there)

        def specification() -> None:
            report_spec.as_json(publishing.told(settings, root, there))

        _timed("wandb's import", lambda: __import__("wandb"))
        _timed(f"experiment, {len(there)} stages", experiment)
        _timed(f"{len(trainings)} trainings", curves)
        _timed("the Report's specification, with its library's import", specification)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
        print(f"{size / 2**20:.1f} MiB")


def _timed(what: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"{what}: {time.perf_counter() - began:.2f} s", flush=True)


if __name__ == "__main__":
    main()
