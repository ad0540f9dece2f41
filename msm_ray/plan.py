"""What an experiment would do: every stage with what is there, stale or missing. Nothing is started for this."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msm_ray import preflight
from msm_ray.artifacts import ArtifactStore, Found
from msm_ray.errors import SettingsError
from msm_ray.experiment import CONTENT_VERSION, Experiment, Stage
from msm_ray.preflight import Finding


@dataclass(frozen=True)
class Planned:
    """A stage and what the store has for it."""

    stage: Stage
    found: Found
    inputs: Mapping[str, str | None]

    def as_json(self) -> dict[str, Any]:
        """{stage, name, state, rows, tokens, steps}: counted where the artifact is there, else expected, else null."""
        counts = self.found.artifact.counts if self.found.state == "present" and self.found.artifact else {}
        expected = {"rows": self.stage.rows, "tokens": self.stage.tokens, "steps": self.stage.steps}
        numbers = {key: counts.get(key, expected[key]) for key in expected}
        return {"stage": self.stage.kind, "name": self.stage.name, "state": self.found.state, **numbers}


def plan(experiment: Experiment, store: ArtifactStore) -> list[Planned]:
    """Look every stage up, in an order that can run."""
    planned: list[Planned] = []
    digests: dict[str, str | None] = {}
    for stage in experiment.stages.values():
        inputs = {key: digests[key] for key in stage.inputs}
        found = look_up(store, stage, inputs)
        there = found.artifact if found.state in ("present", "damaged") else None
        digests[stage.key] = there.digest if there else None
        if found.edited:
            warnings.warn(
                f"{stage.key}: {', '.join(found.edited)} was edited since it was made; what was made from it before is stale",
                stacklevel=2,
            )
        planned.append(Planned(stage, found, inputs))
    return planned


def look_up(store: ArtifactStore, stage: Stage, inputs: Mapping[str, str | None]) -> Found:
    """What the store has for a stage; one whose inputs are not all there is at best stale.

    A report is derived from everything and costs seconds: a stale one is simply missing its next version. So are items whose
    settings are the same: documents came that they are held against, and mostly they come out as they were.
    """
    found = store.find(stage.kind, stage.name, stage.settings, inputs)
    only_inputs = all(key.startswith("input ") for key in found.changed or ())
    if found.state == "stale" and (stage.kind == "report" or (stage.kind == "items" and only_inputs)):
        return Found("missing", draft=found.draft)
    return found


def refuse_damaged(planned: list[Planned], force: tuple[str, ...], new_version: bool) -> None:
    """Stop before anything is built on what is not what was committed: a root that was copied halfway, an emptied file.

    Raises SettingsError naming every such artifact and the ways on.
    """
    forced = {p.stage.key for p in planned if p.stage.kind in force or p.stage.key in force}
    damaged = [p for p in planned if p.found.state == "damaged" and p.stage.key not in forced and not new_version]
    if damaged:
        raise SettingsError(
            "\n".join(describe_damage(p.stage, p.found) for p in damaged)
            + "\nCopy what is damaged again from where it is whole (`msm verify ROOT` reads every byte), or make it anew with "
            + " ".join(f"--force {p.stage.key}" for p in damaged)
        )


def describe_damage(stage: Stage, found: Found, most: int = 4) -> str:
    """`documents/x@1 is not what was committed: data/part-000001.parquet is missing`."""
    wrong = [f"{name} {what}" for name, what in found.damage.items()]
    more = f" and {len(wrong) - most} more" if len(wrong) > most else ""
    version = f"@{found.artifact.version}" if found.artifact else ""
    return f"{stage.key}{version} is not what was committed: {'; '.join(wrong[:most])}{more}"


def refuse_stale(planned: list[Planned], force: tuple[str, ...], new_version: bool) -> None:
    """Stop where settings changed under something that is there, unless the user said which way to go on.

    Only changes of settings and of inputs that exist count here; what follows from a stage that is yet to be made is
    judged when its inputs are there. Raises SettingsError naming the keys and the two ways on.
    """
    if new_version:
        return
    problems = []
    for entry in planned:
        stage = entry.stage
        if entry.found.state != "stale" or stage.kind in force or stage.key in force:
            continue
        gone = {f"input {key}" for key, digest in entry.inputs.items() if digest is None}
        changed = {key: values for key, values in (entry.found.changed or {}).items() if key not in gone}
        if changed:
            problems.append(describe_change(stage, changed, entry.found.draft))
    if problems:
        raise SettingsError(
            "settings changed under artifacts that are there:\n"
            + "\n".join(problems)
            + "\nGo on with --new-version (keeps them "
            f"and makes the next version beside them) or {_force_hint(planned, force)} (replaces them); or take the change back."
        )


def _force_hint(planned: list[Planned], force: tuple[str, ...]) -> str:
    stale = dict.fromkeys(p.stage.kind for p in planned if p.found.state == "stale" and p.stage.kind not in force)
    return " ".join(f"--force {kind}" for kind in stale)


def describe_change(stage: Stage, changed: Mapping[str, tuple[Any, Any]], draft: bool) -> str:
    """`  midtrain/x: learning_rate: 0.001 there, 0.0005 wanted`."""
    keys = "; ".join(
        f"made by a version of msm_ray that makes other {stage.kind}"
        if key == CONTENT_VERSION
        else f"{key}: {_short(old)} there, {_short(new)} wanted"
        for key, (old, new) in changed.items()
    )
    return f"  {stage.key}{' (unfinished)' if draft else ''}: {keys}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:12] + "…"


def show(planned: list[Planned], findings: Sequence[Finding] = ()) -> None:
    """The plan as a table on standard output, and beneath it what was found; no table where nothing could be laid out."""
    if planned:
        _show_stages(planned)
    if findings:
        print(preflight.show(findings))


def _show_stages(planned: list[Planned]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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
            console.print(describe_damage(entry.stage, entry.found), highlight=False, markup=False)
        if entry.found.state == "stale" and entry.found.changed:
            console.print(describe_change(entry.stage, entry.found.changed, entry.found.draft), highlight=False)
