"""What every benchmark prints: a table for people, one JSON list for machines, and the machine it ran on."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Measurement:
    """One number. better: which way is better; goal: what was set out to be reached, None where there is none."""

    name: str
    value: float
    unit: str
    goal: float | None
    better: str


def show(title: str, measurements: Sequence[Measurement]) -> None:
    """Print the measurements, as JSON where the command line has --json."""
    if "--json" in sys.argv:
        print(json.dumps([asdict(m) for m in measurements], indent=1))
        return
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    for column in ("name", "value", "unit", "goal", "better"):
        table.add_column(column, justify="right" if column in ("value", "goal") else "left", no_wrap=True)
    for m in measurements:
        table.add_row(m.name, f"{m.value:,.3g}" if m.value < 1000 else f"{m.value:,.0f}", m.unit, _goal(m), m.better)
    console = Console(width=None if Console().is_terminal else 110)
    console.print(table)
    console.print(hardware(), highlight=False)


def _goal(m: Measurement) -> str:
    return "-" if m.goal is None else f"{'<=' if m.better == 'lower' else '>='} {m.goal:g}"


def hardware() -> str:
    """Date, commit and machine, for a results page."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{time.strftime('%Y-%m-%d')}, commit {commit or 'unknown'}, {psutil.cpu_count()} cores ({platform.machine()}), "
        f"{memory:.0f} GiB, Python {platform.python_version()}"
    )
