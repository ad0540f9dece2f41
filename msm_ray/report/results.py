"""Verdict files in, rates and differences out. Plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from msm_ray.evals.verdicts import as_verdict
from msm_ray.graph.artifacts import Artifact
from msm_ray.report import lineage, naming
from msm_ray.report.numbers import finite
from msm_ray.report.subject import Subject
from msm_ray.report.words import note_of_judges, note_of_seeds
from msm_ray.rows.tables import read_table_rows
from msm_ray.stats import Difference, Rate, Verdict, claims, difference, rate

FEW_CONDITIONS = 6
"""Differences are also given per condition where an eval has no more than this many (kinds of pairs: yes; scenarios: no)."""


@dataclass(frozen=True)
class Results:
    """Everything the report shows in numbers. rows: eval -> verdict rows as read, for samples of transcripts."""

    rates: tuple[Rate, ...]
    differences: tuple[Difference, ...]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]


def collect(subject: Subject) -> Results:
    """Read every verdicts artifact of the experiment and compute what its report asks for."""
    rows = _read(subject)
    rates: list[Rate] = []
    differences: list[Difference] = []
    parts: list[Difference] = []
    for eval_name, how in subject.evals.items():
        if not how.scored:
            continue
        by_arm = _by_arm(rows[eval_name])
        conditions = sorted({v.condition for verdicts in by_arm.values() for v in verdicts})
        for verdicts in by_arm.values():
            rates.append(rate(verdicts))
            rates += [rate(verdicts, c) for c in conditions if any(v.condition == c for v in verdicts)]
        shown = conditions if 1 < len(conditions) <= FEW_CONDITIONS else []
        for a, b in _pairs(subject, eval_name, list(by_arm)):
            differences.append(difference(by_arm[a], by_arm[b]))
            parts += [_described(difference(by_arm[a], by_arm[b], c)) for c in shown]
    return Results(tuple(rates), (*claims(differences), *parts), rows)


def notes(subject: Subject, results: Results) -> list[str]:
    """What has to be said beside the numbers: what they are of, and judges that differ."""
    given = [arm for arm, how in subject.arms.items() if how.checkpoint]
    return [note for note in (note_of_seeds(results.rates, given), note_of_judges(judges(results))) if note]


def judges(results: Results) -> dict[str, list[str]]:
    """Eval -> who gave its verdicts, as the verdicts name them."""
    return {
        name: sorted({str(row["judge"]) for row in rows if row.get("judge") and row["verdict"] is not None})
        for name, rows in results.rows.items()
    }


def left_out(artifacts: Mapping[str, Artifact]) -> dict[str, tuple[int, int]]:
    """Eval -> items that were left out since written documents name them, and all of them."""
    items = {
        a.name: (a.counts["asked"] - a.counts["rows"], a.counts["asked"])
        for a in artifacts.values()
        if a.stage == "items"
    }
    return {name: counts for name, counts in items.items() if counts[0] > 0}


def _described(d: Difference) -> Difference:
    """A condition's own difference is shown, and is none of the comparisons that p values are corrected for."""
    return replace(d, p=None, p_at_bounds=None, why=d.why or "a part of a comparison, not tested by itself")


def _read(subject: Subject) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in subject.evals}
    for line in subject.lines:
        for row in read_table_rows(line.made["verdicts"].folder / "verdicts.parquet"):
            rows[row["eval"]].append({**row, "seed": line.seed})
    return rows


def _by_arm(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Verdict]]:
    by_arm: dict[str, list[Verdict]] = {}
    for row in rows:
        verdict = as_verdict(row)
        by_arm.setdefault(verdict.arm, []).append(verdict)
    return by_arm


def _pairs(subject: Subject, eval_name: str, arms: Sequence[str]) -> list[tuple[str, str]]:
    """The comparisons that the experiment asks for; all pairs where it asks for none."""
    asked = [(c.a, c.b) for c in subject.report.comparisons if c.eval == eval_name]
    if subject.report.comparisons:
        return [(a, b) for a, b in asked if a in arms and b in arms]
    return list(combinations(arms, 2))


def as_json(subject: Subject, results: Results) -> dict[str, Any]:
    """The report for machines, without its answer. Folders are relative to the experiment's root."""
    return {
        "experiment": subject.experiment,
        "question": subject.report.question,
        "base": subject.base,
        "seeds": subject.seeds,
        "arms": naming.arms(subject.arms),
        "evals": naming.evals(subject.evals, judges(results)),
        "notes": notes(subject, results),
        "left_out": left_out(subject.artifacts),
        "rates": [finite(asdict(r)) for r in results.rates],
        "differences": [finite(asdict(d)) for d in results.differences],
        "lineage": [lineage.as_json(line) for line in subject.lines],
        "artifacts": [
            {
                "stage": a.stage,
                "name": a.name,
                "version": a.version,
                "fingerprint": a.record["fingerprint"],
                "digest": a.digest,
                "folder": f"{a.stage}/{a.folder.name}",
            }
            for a in subject.artifacts.values()
        ],
    }
