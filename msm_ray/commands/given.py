"""What commands are given: arguments and options that several share, and the experiment that an experiment file describes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from msm_ray.errors import PreflightError, SettingsError
from msm_ray.storage.places import place

SETTING = re.compile(r"[A-Za-z_][\w.+-]*=")
"""How a setting on the command line begins, as no question does."""

ExperimentFile = Annotated[Path, typer.Argument(help="experiment file, e.g. jobs/quickstart.yaml")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="settings to change: key=value, e.g. seeds=4 aft.steps=200")
]
NewVersion = Annotated[
    bool, typer.Option("--new-version", help="keep stale artifacts and make the next version beside them")
]
Force = Annotated[list[str] | None, typer.Option("--force", help="make these stages anew: a kind (sft) or kind/name")]
Root = Annotated[
    Path,
    typer.Argument(parser=place, metavar="ROOT", help="a folder or bucket with artifacts, the `root` of an experiment"),
]
Named = Annotated[str, typer.Argument(help="an artifact's folder, ROOT/KIND/NAME@VERSION; without @VERSION the newest")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object or list on standard output")]


def example(*commands: str) -> str:
    """What stands beneath a command's help: a paragraph each, as typer keeps lines apart."""
    return "\n\n".join([f"Example{'s' * (len(commands) > 1)}:", *(f"  {command}" for command in commands)])


def load(path: Path, overrides: list[str] | None) -> tuple[Any, Any]:
    """The experiment and its store. Raises SettingsError where the file is wrong."""
    from msm_ray.config.file import load_experiment
    from msm_ray.graph.store import ArtifactStore
    from msm_ray.pipeline import unfold

    experiment = unfold(load_experiment(path, overrides or ()))
    return experiment, ArtifactStore(experiment.settings.root)


def look(path: Path, overrides: list[str] | None) -> tuple[Any, Any, list[Any]]:
    """The experiment and its store (both None where it can't be laid out), and all that is found before anything starts."""
    from msm_ray import preflight
    from msm_ray.config.file import WrongSettings, read_experiment
    from msm_ray.graph.store import ArtifactStore
    from msm_ray.pipeline import unfold
    from msm_ray.storage import probe

    try:
        file = read_experiment(path, overrides or ())
    except WrongSettings as error:
        return None, None, preflight.check_rest(error)
    findings = preflight.check(preflight.Proposal(file))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the findings have them, with their lines
            experiment, store = unfold(file.settings), ArtifactStore(file.settings.root)
            probe(store.root)
            return experiment, store, findings
    except PreflightError:
        return None, None, findings  # of a bucket that can't be reached: a check has said it, with its line
    except SettingsError as error:
        if preflight.exit_code(findings) != 2:  # else it is what a check has said already, with its line
            findings.append(preflight.Finding("error", str(error), file=str(path)))
        return None, None, findings
