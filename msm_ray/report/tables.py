"""The report's tables on a terminal, read back from `report.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show(folder: Path) -> None:
    """Print rates, differences and where the page lies."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    console = Console(width=None if Console().is_terminal else 110)
    for eval_name in dict.fromkeys(r["eval"] for r in report["rates"]):
        console.print(_rates(eval_name, [r for r in report["rates"] if r["eval"] == eval_name]))
    if report["differences"]:
        console.print(_differences(report["differences"]))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)


def _rates(eval_name: str, rates: list[dict[str, Any]]) -> Table:
    """One row per arm: the rate with its interval, then the conditions where they are few."""
    arms = list(dict.fromkeys(r["arm"] for r in rates))
    conditions = sorted({r["condition"] for r in rates if r["condition"]})
    shown = conditions if len(conditions) <= 6 else []
    table = Table(title=f"{eval_name}: rate with 95% interval", box=None, header_style="bold", pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for column in ("all", *shown, "completed", "seeds"):
        table.add_column(column, justify="right", no_wrap=True)
    for arm in arms:
        own = {r["condition"]: r for r in rates if r["arm"] == arm}
        whole = own[None]
        completed = f"{whole['completed']}/{whole['asked']}" + (" !" if whole["completed"] < whole["asked"] else "")
        cells = [interval(whole["rate"], whole["low"], whole["high"])] if whole["completed"] else ["no verdict"]
        cells += [f"{own[c]['rate']:.2f}" if c in own and own[c]["completed"] else "-" for c in shown]
        table.add_row(arm, *cells, completed, str(whole["seeds"]))
    return table


def _differences(differences: list[dict[str, Any]]) -> Table:
    table = Table(title="differences (a - b), 95% interval", box=None, header_style="bold", pad_edge=False)
    for column in ("eval", "a", "b"):
        table.add_column(column, no_wrap=True)
    for column in ("difference", "p", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for d in (d for d in differences if d["condition"] is None):
        if d["difference"] is None:
            table.add_row(d["eval"], d["a"], d["b"], "no verdict", "-", "")
            continue
        excludes = d["low"] > 0 or d["high"] < 0
        cells = interval(d["difference"], d["low"], d["high"], sign="+")
        table.add_row(d["eval"], d["a"], d["b"], cells, p_value(d["p"]), "" if excludes else "not shown")
    return table


def interval(value: float, low: float, high: float, sign: str = "") -> str:
    """`0.48 [0.40, 0.56]`."""
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def p_value(p: float) -> str:
    """`0.021`, or `<0.001`: a p is never nothing."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
