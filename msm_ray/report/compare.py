"""Two reports side by side: `msm report A B`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import RECORD, Artifact, flat
from msm_ray.graph.store import ArtifactStore
from msm_ray.report.numbers import read_numbers
from msm_ray.report.words import EARLIER, is_shown, shown_difference, shown_rate
from msm_ray.terminal import plain_console

MOST_STAGES = 3
"""Stages that are named beside a setting that differs."""


@dataclass(frozen=True)
class Side:
    """One of two experiments. name: as the user gave it; report: its `report.json`; records: key of a stage -> its settings."""

    name: str
    report: Mapping[str, Any]
    records: Mapping[str, Mapping[str, Any]]


def newest_report(root: Path) -> Artifact:
    """The newest report below a root. Raises SettingsError where there is none, or reports of several experiments."""
    reports = [a for a in ArtifactStore(root.expanduser().resolve()).all() if a.stage == "report"]
    names = sorted({a.name for a in reports})
    if len(names) != 1:
        found = f"reports of several experiments ({', '.join(names)})" if names else "no report"
        raise SettingsError(f"{root}: {found}; give the experiment's file, or make a report with `msm run`")
    return max(reports, key=lambda a: a.version)


def side(name: str, artifact: Artifact) -> Side:
    """What is compared of a report, and of the artifacts that it was made from as far as they are still there.

    Raises SettingsError for a report of an earlier version.
    """
    report = json.loads((artifact.folder / "report.json").read_text(encoding="utf-8"))
    if "answer" not in report:
        raise SettingsError(f"{artifact.folder}: {EARLIER}")
    root = artifact.folder.parent.parent
    records = {}
    for made in report["artifacts"]:
        file = root / str(made.get("folder", "")) / RECORD
        if file.is_file():
            records[f"{made['stage']}/{made['name']}"] = json.loads(file.read_text(encoding="utf-8"))["settings"]
    return Side(name, report, records)


def show(a: Side, b: Side) -> None:
    """Print rates and differences of both, and the settings in which they differ."""
    console = plain_console(140)
    console.print(f"a: {a.name}\nb: {b.name}\n", soft_wrap=True)
    for eval_name in dict.fromkeys(r["eval"] for each in (a, b) for r in each.report["rates"]):
        console.print(_rates(eval_name, a, b))
    console.print(_differences(a, b))
    console.print("No test compares the two: where intervals overlap, nothing follows from which number is larger.\n")
    changed = list(differing(a, b))
    console.print(_settings(changed) if changed else "All settings of what both have made are the same.")


def _rates(eval_name: str, a: Side, b: Side) -> Table:
    table = _table(f"{eval_name}: rate with 95% interval", ("arm",), ("a", "b"))
    found = [
        {r.arm: r for r in read_numbers(each.report)[0] if r.eval == eval_name and not r.condition} for each in (a, b)
    ]
    for arm in dict.fromkeys([*found[0], *found[1]]):
        table.add_row(arm, *(shown_rate(rates[arm]) if arm in rates else "-" for rates in found))
    return table


def _differences(a: Side, b: Side) -> Table:
    table = _table("differences, 95% interval", ("eval", "arm", "minus"), ("a", "b"))
    found = [{(d.eval, d.a, d.b): d for d in read_numbers(each.report)[1] if d.condition is None} for each in (a, b)]
    for key in dict.fromkeys([*found[0], *found[1]]):
        table.add_row(*key, *(_said(differences.get(key)) for differences in found))
    return table


def _said(d: Any) -> str:
    if d is None:
        return "-"
    word = "not shown" if d.word and not is_shown(d.word) else d.word or ""
    return f"{shown_difference(d)} {word}".strip()


def differing(a: Side, b: Side) -> Iterable[tuple[str, str, str, list[str]]]:
    """(setting, value in a, value in b, stages) for each setting of a stage that both have made, and for what one has only."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in ("base", "seeds", "question"):
        if a.report[name] != b.report[name]:
            found[name, str(a.report[name]), str(b.report[name])] = ["the experiment"]
    for stage in (key for key in a.records if key in b.records and not key.startswith("report/")):
        one, other = flat(a.records[stage]), flat(b.records[stage])
        for key in dict.fromkeys([*one, *other]):
            if one.get(key) != other.get(key):
                found.setdefault((key, str(one.get(key, "-")), str(other.get(key, "-"))), []).append(stage)
    for (setting, in_a, in_b), stages in found.items():
        yield setting, in_a, in_b, stages


def _settings(changed: Iterable[tuple[str, str, str, list[str]]]) -> Table:
    table = _table("settings that differ", ("setting",), ("a", "b"))
    table.add_column("in")
    for key, one, other, stages in changed:
        more = f" and {len(stages) - MOST_STAGES} more" if len(stages) > MOST_STAGES else ""
        table.add_row(key, one, other, ", ".join(stages[:MOST_STAGES]) + more)
    return table


def _table(title: str, names: Iterable[str], values: Iterable[str]) -> Table:
    table = Table(title=title, box=None, header_style="bold", pad_edge=False, title_justify="left")
    for name in names:
        table.add_column(name, no_wrap=True)
    for value in values:
        table.add_column(value, justify="right")
    return table
