"""Documents, corpora, base text, chats and outlines on a terminal: some of them at random, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from msm_ray.generate.outline import read_outline
from msm_ray.look.page import Page
from msm_ray.look.view import View
from msm_ray.rows.sampling import columns_of, count_rows, count_values, sample_rows
from msm_ray.rows.tables import read_rows

ORIGIN = ("type", "domain", "subdomain", "idea", "generator", "source")
"""Columns that say where a document comes from."""


def show_documents(view: View) -> None:
    """Documents with where they come from, and rejected ones."""
    files = sorted((view.entry.folder / "data").glob("*.parquet"))
    if "type" in columns_of(files):
        for column in ("domain", "type"):
            view.page.facts(f"by {column}", _shares(files, column))
    rows = sample_rows(files, view.count, view.rng)
    view.page.heading(f"{len(rows)} of {count_rows(files):,} texts, at random")
    for row in rows:
        origin = " · ".join(dict.fromkeys(str(row[c]) for c in ORIGIN if row.get(c)))
        view.page.text(row["text"], f"{row['id']}  {origin}")
    _rejected(view)


def show_chats(view: View) -> None:
    """Chats turn by turn, and rejected ones."""
    files = sorted((view.entry.folder / "data").glob("*.parquet"))
    rows = sample_rows(files, view.count, view.rng)
    for column in ("topic", "part", "origin"):
        if column in columns_of(files):
            view.page.facts(f"by {column}", _shares(files, column))
    view.page.heading(f"{len(rows)} of {count_rows(files):,} chats, at random")
    for row in rows:
        told = " · ".join(str(row[c]) for c in ("source", "part", "origin", "topic") if row.get(c))
        _chat(view.page, row, f"{row['id']}  {told}")
    _rejected(view)


def show_outline(view: View) -> None:
    """The sections that are written about, with some of what they assert and the types of documents."""
    if not (view.entry.folder / "outline.yaml").is_file():  # a draft: what was answered so far
        _unusable_answers(view)
        return
    outline = read_outline(view.entry.folder)
    view.page.heading(f"{len(outline.subdomains)} subdomains")
    for part in outline.subdomains:
        view.page.line(f"{part.domain} / {part.name}: {len(part.assertions)} assertions, {len(part.types)} types")
        for assertion in view.rng.sample(part.assertions, min(view.count, len(part.assertions))):
            view.page.line(f"  {assertion.label}: {assertion.text}")
        ideas = [(kind, idea) for kind in part.types for idea in kind.ideas]
        for kind, idea in view.rng.sample(ideas, min(view.count, len(ideas))):
            view.page.line(f"  {kind.name}: {idea.name}: {idea.text}")
    _rejected(view)


def _chat(page: Page, row: dict[str, Any], head: str) -> None:
    page.line(head, "dim")
    for message in row["messages"] or ():
        page.text(f"{message['role']}: {message['content']}")


def _unusable_answers(view: View) -> None:
    """Answers to calls that could not be used, by call and reason, and some of them raw."""
    rows = [row for row in read_rows(view.entry.folder / "answers") if row["reason"]]
    if not rows:
        return
    chosen = view.rng.sample(rows, min(view.count, len(rows)))
    view.page.heading(f"{len(chosen)} of {len(rows):,} answers that could not be used, at random")
    counts = Counter(f"{row['call']}: {row['reason'].partition(':')[0]}" for row in rows)
    view.page.facts("by call and reason", {why: f"{count:,}" for why, count in counts.most_common()})
    for row in chosen:
        view.page.text(row["raw"] or "", f"{row['id']}  {row['call']} · {row['about']} · {row['reason']}")


def _rejected(view: View) -> None:
    """What was left out, by reason, and some of it with the raw answer or what was found in it; answers that were no use."""
    _unusable_answers(view)
    whole = view.entry.folder / "rejected.parquet"
    files = [whole] if whole.is_file() else sorted((view.entry.folder / "rejected").glob("*.parquet"))
    if not count_rows(files):
        return
    rows = sample_rows(files, view.count, view.rng)
    view.page.heading(f"{len(rows)} of {count_rows(files):,} that were left out, at random")
    view.page.facts("by reason", _shares(files, "reason"))
    for row in rows:
        head = f"{row['id']}  {row['reason']}"
        if row.get("messages"):
            _chat(view.page, row, head)
        elif row.get("text"):
            view.page.text(row["text"], f"{head}: {row['raw']}" if row.get("raw") else head)
        else:
            view.page.text(row.get("raw"), head)


def _shares(files: list[Path], column: str, most: int = 12) -> dict[str, str]:
    """How many rows have each value of a column, the most frequent first; reasons that go into detail count as one."""
    counts: Counter[str] = Counter()
    for value, n in count_values(files, column).items():
        counts[value.partition(": ")[0] if column == "reason" else value] += n
    if not set(counts) - {"None", ""}:
        return {}  # nobody said
    shown = {f"{name}:": f"{n:,}" for name, n in counts.most_common(most)}
    others = sum(n for _, n in counts.most_common()[most:])
    return shown | ({"others:": f"{others:,}"} if others else {})
