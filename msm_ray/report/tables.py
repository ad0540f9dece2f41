"""The report's tables on a terminal, read back from `report.json`."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rich.padding import Padding
from rich.table import Table

from msm_ray.errors import SettingsError
from msm_ray.report.numbers import read_numbers
from msm_ray.report.words import EARLIER, is_shown, no_choice, p_value, shown_difference, shown_rate, target
from msm_ray.stats import Difference, Rate
from msm_ray.terminal import plain_console


def show(folder: Path) -> None:
    """Print the answer, rates, differences, what is not shown, and where the page lies.

    Raises SettingsError for a report of an earlier version.
    """
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    try:
        rates, differences = read_numbers(report)
        answer = report["answer"]
    except (TypeError, KeyError):
        raise SettingsError(f"{folder}: {EARLIER}") from None
    console = plain_console(110)
    console.print(answer["headline"], style="bold")
    for finding in answer["findings"]:
        console.print(Padding(f"- {finding}", (0, 0, 0, 2)))
    console.print()
    for eval_name in dict.fromkeys(r.eval for r in rates):
        console.print(_rates(eval_name, tuple(r for r in rates if r.eval == eval_name)))
    if differences:
        console.print(_differences(differences))
    if any(r.completed < r.asked for r in rates):
        console.print("! = fewer answers could be judged than were asked for")
    if answer["limits"]:
        console.print("\nWhat this does not show:", style="bold")
    for limit in answer["limits"]:
        console.print(Padding(f"- {limit}", (0, 0, 0, 2)))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def _rates(eval_name: str, rates: tuple[Rate, ...]) -> Table:
    """One row per arm: the rate with its interval, then the conditions where they are few."""
    conditions = sorted({r.condition for r in rates if r.condition})
    shown = conditions if len(conditions) <= 6 else []
    unclear = any(no_choice(r) for r in rates if r.condition is None)
    title = f"{eval_name}: rate with 95% interval, {target(rates)}"
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for column in ("all", *shown, *(["with no choice"] if unclear else []), "completed", "seeds"):
        table.add_column(column, justify="right", no_wrap=True)
    for arm in dict.fromkeys(r.arm for r in rates):
        own = {r.condition: r for r in rates if r.arm == arm}
        whole = own[None]
        completed = f"{whole.completed}/{whole.asked}" + (" !" if whole.completed < whole.asked else "")
        cells = [shown_rate(whole)]
        cells += [f"{own[c].rate:.2f}" if c in own and not math.isnan(own[c].rate) else "-" for c in shown]
        cells += [no_choice(whole)] if unclear else []
        table.add_row(arm, *cells, completed, str(whole.seeds))
    return table


def _differences(differences: tuple[Difference, ...]) -> Table:
    """The comparisons over all conditions. p values stand there only where a claim can be made."""
    overall = [d for d in differences if d.condition is None]
    tested = any(d.p is not None for d in overall)
    of = "; ".join(dict.fromkeys(f"of {d.of}" for d in overall))
    table = Table(title=f"differences (a - b), 95% interval, {of}", box=None, header_style="bold", pad_edge=False)
    for column in ("eval", "a", "b"):
        table.add_column(column, no_wrap=True)
    for column in ("difference", *(["p", "Holm"] if tested else []), ""):
        table.add_column(column, justify="right", no_wrap=column != "")
    for d in overall:
        said = "not shown" if d.word and not is_shown(d.word) else d.word or (d.why if tested else "")
        said += f" (over {d.conditions} of {d.conditions + len(d.left_out)} conditions)" if d.left_out else ""
        table.add_row(
            d.eval, d.a, d.b, shown_difference(d), *([p_value(d.p), p_value(d.p_holm)] if tested else []), said
        )
    return table
