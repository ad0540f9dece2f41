"""`msm ls`: every artifact below a root with rows, tokens, size, age and state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from msm_ray.look.entries import Entry, read_root
from msm_ray.look.words import age, bytes_below, seconds_since, size
from msm_ray.terminal import plain_console

STYLES = {"present": "green", "stale": "yellow", "old": "dim", "draft": "cyan", "damaged": "red"}
MEANINGS = {
    "stale": "what it was made from has been made anew since",
    "old": "a newer version is there",
    "draft": "begun and not finished",
    "damaged": "not what was committed; `msm verify` names the files",
}


def listed(root: Path) -> list[dict[str, Any]]:
    """For machines: {kind, name, version, state, rows, tokens, bytes, finished, path} of each, numbers null where unknown."""
    return [_row(entry) for entry in read_root(root)]


def show(root: Path) -> None:
    """Print the table, and what the states in it mean. Raises SettingsError where there is no artifact."""
    entries = read_root(root)
    rows = [_row(entry) for entry in entries]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("state", "artifact", "rows", "tokens", "size", "age"):
        table.add_column(column, justify="left" if column in ("state", "artifact") else "right", no_wrap=True)
    for entry, row in zip(entries, rows, strict=True):
        old = age(seconds_since(entry.artifact.record, entry.folder))
        numbers = ["-" if row[key] is None else f"{row[key]:,}" for key in ("rows", "tokens")]
        table.add_row(Text(entry.state, STYLES[entry.state]), Text(entry.label), *numbers, size(row["bytes"]), old)
    console = plain_console()
    console.print(table)
    console.print(_sum(rows), soft_wrap=True)


def _sum(rows: Sequence[dict[str, Any]]) -> str:
    states = Counter(row["state"] for row in rows)
    parts = [f"{states[s]} {s}" + (f" ({MEANINGS[s]})" if s in MEANINGS else "") for s in STYLES if s in states]
    total = size(sum(row["bytes"] for row in rows))
    return f"{len(rows)} artifacts, {total}: {', '.join(parts)}"


def _row(entry: Entry) -> dict[str, Any]:
    artifact = entry.artifact
    return {
        "kind": artifact.stage,
        "name": artifact.name,
        "version": artifact.version,
        "state": entry.state,
        "rows": artifact.counts.get("rows"),
        "tokens": artifact.counts.get("tokens"),
        "bytes": bytes_below(entry.folder),
        "finished": artifact.record.get("finished"),
        "path": str(entry.folder),
    }
