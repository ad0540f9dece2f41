"""What settings mean."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from msm_ray.commands.given import (
    AsJson,
    example,
)

app = typer.Typer()


@app.command(epilog=example("msm settings", "msm settings aft", "msm settings evals.agentic.rollouts"))
def settings(
    key: Annotated[str | None, typer.Argument(help="a setting or a section, e.g. aft.learning_rate; none: all")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a setting means, its unit, its default and what the paper has."""
    from msm_ray import reference

    found = reference.look_up(key) if key else reference.settings()
    if as_json:
        print(reference.as_json(found))
    else:
        width = min(120, shutil.get_terminal_size().columns)
        print(reference.show(found, width) if key else reference.overview(width))
