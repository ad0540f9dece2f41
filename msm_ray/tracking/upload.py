"""Sends what was kept here: runs piece by piece with W&B's own `wandb sync`, then the Report and the workspace's view."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msm_ray.errors import PreflightError, StageError
from msm_ray.graph.artifacts import Artifact
from msm_ray.tracking import keys, names, publishing, run, training_run
from msm_ray.tracking.experiment_run import ExperimentRun
from msm_ray.tracking.report_spec import Home

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

LONGEST_SYNC = 1800.0
"""Seconds for all runs."""


def send(settings: ExperimentSettings, root: Path, there: Mapping[str, Artifact], say: Callable[[str], None]) -> None:
    """Send an experiment's runs and Report; what was sent before is left out, the Report is made anew in its place.

    there: its finished artifacts by key in the order in which they were made, the report among them; of what was not tracked runs
    are made from them. say: is told what is done, and the addresses. Raises PreflightError where there is no key, or the server
    refuses or does not answer; StageError where it did not take all.
    """
    if os.environ.get("WANDB_MODE", "online") != "online":
        raise PreflightError(f"WANDB_MODE={os.environ['WANDB_MODE']} keeps everything here; unset it to send")
    if not keys.has_key():
        raise PreflightError(f"no key for {keys.host()}: set WANDB_API_KEY, or `wandb login` once")
    run.be_quiet()
    settings = settings.model_copy(update={"tracking": settings.tracking.model_copy(update={"mode": "online"})})
    made = make_missing(settings, root, there)
    say(f"W&B: {made} runs made from artifacts" if made else "W&B: every run is there")
    home = _home(names.experiment_run(settings, root))
    left = unsent(settings, root, there)
    _sync(left)
    if left:
        with ExperimentRun(settings, root) as experiment:
            experiment.sum_up(there)
    say(f"W&B: {len(left)} pieces of runs sent; the experiment: {home.url}")
    for address in publishing.publish(settings, root, there, home):
        say(f"W&B: {address}")


def _home(name: names.RunName) -> Home:
    """Where the experiment's run is, once the server has taken it: key, project and network are right then."""
    with run.open_online(name) as tracker:
        return Home(tracker.entity, tracker.project, tracker.url)


def make_missing(settings: ExperimentSettings, root: Path, there: Mapping[str, Artifact]) -> int:
    """Make the runs that nothing is kept of, from artifacts, offline; returns how many."""
    own = names.experiment_run(settings, root)
    missing = [a for a in trainings(there) if not pieces(names.training_run(settings, root, a.record))]
    for artifact in missing:
        training_run.from_artifact(settings, root, artifact, there)
    kept = pieces_to_send(own)
    if kept and not any((piece.parent / run.UNSENT).exists() for piece in kept):  # else tables may be lost from it
        return len(missing)
    with ExperimentRun(settings, root, offline=True) as experiment:
        so_far: dict[str, Artifact] = {}
        for key, artifact in there.items():
            so_far[key] = artifact
            experiment.stage(artifact, so_far)
    return len(missing) + 1


def trainings(there: Mapping[str, Artifact]) -> list[Artifact]:
    """The finished trainings."""
    return [artifact for artifact in there.values() if artifact.stage in ("midtrain", "sft")]


def pieces(name: names.RunName) -> list[Path]:
    """The files of a run, one for each time that it was gone on with, oldest first."""
    return sorted((Path(name.folder) / "wandb").glob(f"*run-*/run-{name.id}.wandb"))


def pieces_to_send(name: names.RunName) -> list[Path]:
    """The pieces of an experiment's run, without those that hold texts where texts are to stay here."""
    return [piece for piece in pieces(name) if name.settings.texts or (piece.parent / run.WITHOUT_TEXTS).exists()]


def unsent(settings: ExperimentSettings, root: Path, there: Mapping[str, Artifact]) -> list[Path]:
    """Pieces that the server has not got: offline ones, and online ones that it did not take whole."""
    found = pieces_to_send(names.experiment_run(settings, root))
    for artifact in trainings(there):
        found += pieces(names.training_run(settings, root, artifact.record))
    return [
        piece
        for piece in found
        if not piece.with_suffix(".wandb.synced").exists()
        and (piece.parent.name.startswith("offline-") or (piece.parent / run.UNSENT).exists())
    ]


def _sync(left: Sequence[Path]) -> None:
    if not left:
        return
    command = [sys.executable, "-P", "-m", "wandb", "sync", "--include-online", *map(str, left)]
    environment = {**os.environ, **run.QUIET, "WANDB_SILENT": "false"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=LONGEST_SYNC, env=environment,
            cwd=left[0].parents[2],  # its own log goes to ./wandb
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise StageError(
            f"{keys.host()} did not take all within {LONGEST_SYNC / 60:.0f} minutes; the same command goes on with the rest"
        ) from None
    refused = [piece for piece in left if not piece.with_suffix(".wandb.synced").exists()]
    if done.returncode or refused:
        said = [line.strip() for line in done.stdout.splitlines() if "error" in line.lower()]
        raise StageError(
            f"{keys.host()} did not take {len(refused)} of {len(left)} pieces ({said[-1] if said else 'it does not say why'}); "
            "the same command sends them again"
        )
    for piece in left:
        (piece.parent / run.UNSENT).unlink(missing_ok=True)
