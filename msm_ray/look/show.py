"""`msm show`: what is in an artifact, for people at a terminal."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from msm_ray.graph.heads import counted
from msm_ray.look import questions, texts, trainings, transcripts
from msm_ray.look.entries import Entry, find, is_of, made_from
from msm_ray.look.listing import MEANINGS
from msm_ray.look.page import Page
from msm_ray.look.view import View
from msm_ray.look.words import age, bytes_below, seconds_since, size
from msm_ray.report import tables
from msm_ray.storage import sizes

MOST_INPUTS = 12


def show(said: str, count: int, seed: int | None = None) -> None:
    """Print an artifact: what it is, what it was made from, and `count` rows of it drawn by `seed` (None: others each time).

    said: its folder, or that without the version. Raises SettingsError where there is no artifact.
    """
    entry, beside = find(said)
    view = View(Page(), entry, beside, count, random.Random(seed))
    _head(view)
    _body(entry)(view)


def _body(entry: Entry) -> Callable[[View], None]:
    kind = entry.artifact.stage
    if entry.state == "damaged" or (entry.state == "draft" and kind not in _READABLE_DRAFTS):
        return _files
    return _KINDS.get(kind, _files)


def _head(view: View) -> None:
    page, entry, record = view.page, view.entry, view.entry.artifact.record
    made = record.get("finished", "not finished")
    facts = [entry.state, f"{made} ({age(seconds_since(record, entry.folder))} ago)", size(bytes_below(entry.folder))]
    page.title(entry.label, ", ".join(facts))
    if entry.state in MEANINGS:
        page.line(f"{entry.state}: {MEANINGS[entry.state]}")
    for name, what in entry.damage.items():
        page.line(f"  {name} {what}")
    page.line(str(entry.folder))
    page.facts("made from", _inputs(view))
    counts = {key: n for key, n in entry.artifact.counts.items() if not key.startswith("rejected: ")}
    page.facts("counts", {key: f"{n:,}" if isinstance(n, int) else n for key, n in counts.items()})
    page.facts("settings", _flat(record.get("settings", {})))


def _inputs(view: View) -> dict[str, str]:
    """Key of each input -> which version of it lies here."""
    there = made_from(view.entry, view.beside)
    shown = {}
    for key, digest in list(view.entry.inputs.items())[:MOST_INPUTS]:
        versions = [e.artifact.version for e in there if e.key == key and is_of(digest, e)]
        first = f", the first {count:,}" if (count := counted(digest)) is not None else ""
        shown[key] = f"@{versions[-1]}{first}" if versions else f"{(digest or 'not made yet')[:12]} (not here any more)"
    more = len(view.entry.inputs) - len(shown)
    return shown | ({f"and {more} more": ""} if more else {})


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys with what is set."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        said = _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
        flat |= {inner: v for inner, v in said.items() if v is not None}
    return flat


def _files(view: View) -> None:
    """What nothing more is known of, or what is not whole: the names of its files."""
    folder = view.entry.folder
    there = {
        name: count for name, count in sorted(sizes(folder).items()) if not name.rpartition("/")[2].startswith(".")
    }
    view.page.facts("files", {name: size(count) for name, count in there.items()})


def _report(view: View) -> None:
    tables.show(view.entry.folder)


_READABLE_DRAFTS = (
    "outline", "documents", "given", "rewrites", "corpus", "replay", "written-chats", "chats", "midtrain", "sft", "rollouts",
)  # fmt: skip
"""Kinds that grow row by row, or leave what a quality gate refused to be looked at."""

_KINDS: dict[str, Callable[[View], None]] = {
    "outline": texts.show_outline,
    "documents": texts.show_documents,
    "given": texts.show_documents,
    "rewrites": texts.show_documents,
    "corpus": texts.show_documents,
    "replay": texts.show_documents,
    "written-chats": texts.show_chats,
    "chats": texts.show_chats,
    "blocks": trainings.show_blocks,
    "checkpoint": trainings.show_given,
    "midtrain": trainings.show_training,
    "sft": trainings.show_training,
    "items": questions.show_items,
    "rollouts": transcripts.show_rollouts,
    "verdicts": transcripts.show_verdicts,
    "report": _report,
}
