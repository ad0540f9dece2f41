"""Rollouts and verdicts on a terminal: what an arm was asked, what it said, and what the judge made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msm_ray.evals.answer_file import read_answers
from msm_ray.evals.items import read_items
from msm_ray.evals.verdicts import FILE
from msm_ray.look.entries import Entry
from msm_ray.look.page import Page
from msm_ray.look.view import View
from msm_ray.rows.tables import read_table_rows

FEW_CONDITIONS = 6
"""Up to this many conditions have a line of their own."""

Row = dict[str, Any]


def show_rollouts(view: View) -> None:
    """Transcripts; with verdicts where some were made of these rollouts."""
    verdicts = _verdicts_on(view.entry, view.beside)
    if verdicts:
        show_verdicts(replace(view, entry=verdicts))
        return
    page = view.page
    items, answers = _items(view), list(read_answers(view.entry.folder).values())
    drawn = view.rng.sample(answers, min(view.count, len(answers)))
    page.heading(f"{len(drawn)} of {len(answers):,} transcripts, not judged yet, at random")
    for answer in drawn:
        item = items.get(answer.sample, {})
        page.text(f"user: {item.get('user', '(not here any more)')}", f"{item.get('condition', '')}, {answer.sample}")
        page.text(f"answer: {answer.text}")


def show_verdicts(view: View) -> None:
    """The share of verdicts, by condition where these are few, and transcripts each with verdict and reason."""
    page, rows = view.page, read_table_rows(view.entry.folder / FILE)
    page.heading(f"Verdicts ({view.entry.label})")
    page.facts("status", {f"{status}:": n for status, n in Counter(row["status"] for row in rows).most_common()})
    conditions = sorted({row["condition"] for row in rows})
    for condition in (None, *(conditions if len(conditions) <= FEW_CONDITIONS else ())):
        page.line(f"  {condition or 'all'}: {_share([r for r in rows if condition in (None, r['condition'])])}")
    drawn = view.rng.sample(rows, min(view.count, len(rows)))
    page.heading(f"{len(drawn)} of {len(rows):,} transcripts, at random")
    items = _items(view)
    for row in drawn:
        _transcript(page, row, items.get(row["sample"], {}).get("system"))


def _transcript(page: Page, row: Row, system: str | None) -> None:
    page.line(f"{row['condition']}, {row['sample']}, try {row['epoch']}", "dim")
    if system:
        page.text(f"system: {system}")
    page.text(f"user: {row['question']}")
    page.text(f"{row['arm']}: {row['answer']}" if row["answer"] is not None else "(no answer)")
    why = f", {row['reason']}" if row["reason"] else ""
    page.line(f"  verdict: {row['verdict'] if row['verdict'] is not None else row['status']}{why}", "bold")


def _share(rows: Sequence[Row]) -> str:
    clear = [row["verdict"] for row in rows if row["verdict"] is not None]
    return f"{sum(clear)} of {len(clear)} true ({sum(clear) / len(clear):.2f})" if clear else "no verdict"


def _verdicts_on(rollouts: Entry, beside: Sequence[Entry]) -> Entry | None:
    """The newest finished verdicts that were made from some rollouts."""
    digest = rollouts.artifact.record.get("digest")
    judged = [e for e in beside if e.artifact.stage == "verdicts" and e.state not in ("draft", "damaged")]
    own = [e for e in judged if digest and e.inputs.get(rollouts.key) == digest]
    return own[-1] if own else None


def _items(view: View) -> dict[str, Row]:
    """What was asked, by id; nothing where it is not here any more."""
    return {item["id"]: item for entry in view.inputs("items")[-1:] for item in read_items(entry.folder)}
