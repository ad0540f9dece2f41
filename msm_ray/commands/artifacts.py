"""What lies below a root: verify, list, show, clean, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from msm_ray.commands.given import (
    AsJson,
    Named,
    Root,
    example,
)
from msm_ray.errors import SettingsError
from msm_ray.storage.places import place

app = typer.Typer()


@app.command(epilog=example("msm verify runs/quickstart"))
def verify(
    root: Root,
    as_json: AsJson = False,
) -> None:
    """Read every byte of every artifact below a root and name what is not what was committed."""
    from msm_ray.graph.store import ArtifactStore

    found = dict(ArtifactStore(root).verify())
    if not found:
        raise SettingsError(f"{root}: no artifacts there; give the root of an experiment")
    if as_json:
        print(json.dumps(found, indent=1))
    damaged = {label: damage for label, damage in found.items() if damage}
    for label, damage in damaged.items() if not as_json else ():
        print(f"{label}: " + "; ".join(f"{name} {what}" for name, what in damage.items()))
    if damaged:
        raise SettingsError(f"{root}: {len(damaged)} of {len(found)} artifacts are not what was committed")
    if not as_json:
        print(f"{len(found)} artifacts, each as it was committed")


@app.command(epilog=example("msm ls runs/quickstart"))
def ls(root: Root, as_json: AsJson = False) -> None:
    """List every artifact below a root with rows, tokens, size, age and state."""
    from msm_ray.look import listing

    if as_json:
        print(json.dumps(listing.listed(root), indent=1))
    else:
        listing.show(root)


@app.command(epilog=example("msm show runs/quickstart/corpus/endings -n 10"))
def show(
    artifact: Named,
    count: Annotated[int, typer.Option("-n", min=0, help="rows to show: documents, chats, transcripts")] = 5,
    seed: Annotated[int | None, typer.Option("--seed", help="draw the same rows each time")] = None,
) -> None:
    """Show what is in an artifact, with random rows of it."""
    from msm_ray.look.show import show as show_artifact

    show_artifact(artifact, count, seed)


@app.command(epilog=example("msm clean runs/quickstart --keep-drafts"))
def clean(
    root: Root,
    yes: Annotated[bool, typer.Option("--yes", help="remove what is listed without asking")] = False,
    keep_drafts: Annotated[bool, typer.Option("--keep-drafts", help="leave what is begun and not finished")] = False,
) -> None:
    """List old versions, drafts and checkpoints that nothing needs, and remove them on a yes.

    What a newest version was made from always stays.
    """
    from msm_ray.look.cleaning import clean as clean_root

    clean_root(root, (lambda _: True) if yes else _confirmed, keep_drafts=keep_drafts)


@app.command(
    epilog=example(
        "msm export runs/smollm2/sft/america+cheese-s0 my-model --merged",
        "msm export runs/smollm2/corpus/america my-corpus --jsonl",
    )
)
def export(
    artifact: Named,
    folder: Annotated[
        Path, typer.Argument(parser=place, metavar="FOLDER", help="a new folder for the copy, or one in a bucket")
    ],
    merged: Annotated[
        bool, typer.Option("--merged", help="a LoRA arm: one model, the adapter merged into its base")
    ] = False,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="a data set: its rows also as dataset.jsonl (text, source, domain; messages)"),
    ] = False,
) -> None:
    """Copy an artifact without the run's bookkeeping: a model or data set for others, rollouts as a web page."""
    from msm_ray.look.exporting import export as export_artifact

    export_artifact(artifact, folder, merged=merged, jsonl=jsonl)


def _confirmed(question: str) -> bool:
    """Asks at the terminal; no answer, as from a closed input, is a no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
