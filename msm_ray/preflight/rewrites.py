"""Rewrites need a writer that can be asked, and documents to rewrite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msm_ray.config.names import source_of
from msm_ray.config.recipes import document_settings
from msm_ray.config.writers import call_writers
from msm_ray.engines.replay import has_requests
from msm_ray.errors import SettingsError
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.rewrites.kinds import kind_of
from msm_ray.generate.writer import Who
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.yaml_tree import At


def writers(proposal: Proposal) -> Iterator[Finding]:
    """Who rewrites is asked about each document, and answers that."""
    for at, how in _rewritten(proposal):
        call = kind_of(how).call.name
        who = call_writers(proposal.settings, (call,), how)[call].who
        if why := _cannot_answer(who):
            yield proposal.error((*at, "rewrite"), f"{how.rewrite}: {why}", f"name a writer under writer.calls.{call}")


def supply(proposal: Proposal) -> Iterator[Finding]:
    """No more documents can be rewritten than are written."""
    for name, at, how in proposal.corpora():
        source = source_of(proposal.settings, name)
        there = document_settings(proposal.settings, source).documents
        if how.rewrite and there < how.documents:
            yield proposal.fewer(
                (*at, "documents"), f"{how.documents:,} rewritten documents are asked for and {there:,} of {source} are written",
                f"set {there}, or ask for more of {source}",
            )  # fmt: skip


def _rewritten(proposal: Proposal) -> list[tuple[At, DocumentSettings]]:
    return [(at, how) for _, at, how in proposal.corpora() if how.rewrite]


def _cannot_answer(who: Who) -> str:
    if who.engine == "offline":
        return "the engine offline has only the spec's own sentences, and no writer that could be asked"
    if who.ask == "completion":
        return "a writer is asked to rewrite a document, and ask: completion only has texts gone on with"
    if who.engine == "replay" and who.replay and not _finds_requests(who.replay):
        return f"{who.replay} has documents in order, and no answers to what is asked (rows with the `id` of a request)"
    return ""


def _finds_requests(path: str) -> bool:
    try:
        return has_requests(Path(path))
    except (SettingsError, IndexError, OSError):
        return True  # that it can't be read is told by the check of recordings
