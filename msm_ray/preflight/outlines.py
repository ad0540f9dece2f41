"""Who makes an outline: a writer that can be asked for one, or rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msm_ray.generate.outline import read_draft
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal


def made_by(proposal: Proposal) -> Iterator[Finding]:
    """A writer that answers no questions writes no outline."""
    for _, at, how in proposal.corpora():
        if how.by == "headings":
            continue
        if how.engine == "offline":
            yield proposal.error(
                (*at, "by"), "by: model needs a writer, and the engine offline has none that could write an outline",
                "set documents.by: headings",
            )  # fmt: skip
        elif how.ask == "completion":
            yield proposal.error(
                (*at, "by"), "by: model asks the writer for lists, and ask: completion only has texts gone on with",
                "set documents.by: headings, or ask: chat",
            )  # fmt: skip


def given(proposal: Proposal) -> Iterator[Finding]:
    """An outline of one's own can be read."""
    for _, at, how in proposal.corpora():
        if how.given:
            path = Path(how.given)
            yield from proposal.tried((*at, "given"), lambda path=path: read_draft(path))[1]  # type: ignore[misc]
