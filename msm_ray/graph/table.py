"""A plan as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from msm_ray.graph.planning import Planned, describe_change, describe_damage


def show_costs(lines: Sequence[Sequence[str]]) -> None:
    """What writing will take, a call a line, the sums last."""
    table = Table(title="writing (an estimate)", box=None, header_style="bold", pad_edge=False)
    left = ("stage", "call", "writer")
    for column in (*left, "requests", "tokens in", "tokens out", "dollars", "time"):
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*map(Text, line))
    Console(width=None if Console().is_terminal else 120, markup=False, emoji=False).print(table)


def show(planned: Sequence[Planned]) -> None:
    """The plan as a table on standard output."""
    table = Table(title="plan", box=None, header_style="bold", pad_edge=False)
    for column in ("state", "stage", "name", "rows", "tokens", "steps"):
        table.add_column(column, justify="right" if column in ("rows", "tokens", "steps") else "left", no_wrap=True)
    style = {"present": "green", "stale": "yellow", "damaged": "red", "missing": "cyan"}
    for entry in planned:
        row = entry.as_json()
        numbers = [f"{row[key]:,}" if row[key] is not None else "-" for key in ("rows", "tokens", "steps")]
        state = row["state"] + (" (begun)" if entry.found.draft else "")
        table.add_row(Text(state, style[row["state"]]), row["stage"], row["name"], *numbers)
    # Nothing that a user wrote is markup: `[final]` in a path would vanish.
    console = Console(width=None if Console().is_terminal else 120, markup=False, emoji=False)
    console.print(table)
    states = [entry.found.state for entry in planned]
    console.print(f"{len(planned)} stages: " + ", ".join(f"{states.count(s)} {s}" for s in style if s in states))
    for entry in planned:
        if entry.found.state == "damaged":
            console.print(describe_damage(entry.node, entry.found), highlight=False, markup=False)
        if entry.found.state == "stale" and entry.found.changed:
            console.print(describe_change(entry.node, entry.found.changed, entry.found.draft), highlight=False)
