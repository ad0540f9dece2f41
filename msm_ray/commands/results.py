"""What a run gave and how it stands: its report, and its status while it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msm_ray.commands.given import (
    SETTING,
    AsJson,
    Root,
    example,
    load,
)
from msm_ray.errors import SettingsError

if TYPE_CHECKING:
    from msm_ray.graph.artifacts import Artifact

app = typer.Typer()


@app.command(
    epilog=example(
        "msm report jobs/quickstart.yaml",
        "msm report jobs/quickstart.yaml --json",
        "msm report jobs/quickstart.yaml --wandb",
        "msm report runs/quickstart runs/other",
    )
)
def report(
    experiment: Annotated[Path, typer.Argument(help="experiment file, or the root of an experiment")],
    words: Annotated[
        list[str] | None,
        typer.Argument(help="a second one, to be shown beside it, and settings of the files as key=value"),
    ] = None,
    as_json: AsJson = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="send the experiment's runs and its Report to W&B")] = False,
) -> None:
    """Show the answer and tables of a finished experiment and where its report lies; of two, their rates side by side."""
    from msm_ray import runner
    from msm_ray.report import compare, tables

    overrides = [word for word in words or () if SETTING.match(word)]
    others = [Path(word) for word in words or () if not SETTING.match(word)]
    if wandb:
        if others or experiment.is_dir():
            raise SettingsError("--wandb: give one experiment file, whose runs and Report are sent")
        runner.send_to_wandb(*load(experiment, overrides))
        return
    if len(others) > 1:
        raise SettingsError(f"{others[1]}: two experiments are shown side by side, and no more")
    made = [_report_of(path, overrides) for path in (experiment, *others)]
    if as_json:
        reports = [json.loads((a.folder / "report.json").read_text(encoding="utf-8")) for a in made]
        print(json.dumps(dict(zip("ab", reports, strict=True)) if others else reports[0], indent=1))
    elif others:
        compare.show(*(compare.side(str(p), a) for p, a in zip((experiment, *others), made, strict=True)))
    else:
        tables.show(made[0].folder)


def _report_of(path: Path, overrides: list[str]) -> Artifact:
    from msm_ray import runner
    from msm_ray.report import compare

    return compare.newest_report(path) if path.is_dir() else runner.report_of(*load(path, overrides))


@app.command(epilog=example("msm status runs/quickstart"))
def status(
    root: Root,
    as_json: AsJson = False,
) -> None:
    """Say what is done, running, waiting and failed below a root, from any terminal, while a run goes on or after it."""
    from msm_ray.look import status as telling

    content = telling.read(root)
    print(json.dumps(content, indent=1) if as_json else telling.show(content))
