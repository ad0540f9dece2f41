"""Sections of a spec that no document would be about."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from msm_ray.generate.outline import make_outline, unwritten_sections
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.worlds import world

SHOWN = 6


def without_documents(proposal: Proposal) -> Iterator[Finding]:
    """What no document says, no arm learns."""
    for name, at, how in proposal.written():
        spec, _ = proposal.spec(name)  # one that can't be read is told by `files.specs`
        if spec is None or how.by == "model":  # what a model leaves out is told when it has made the outline
            continue
        outlining = partial(make_outline, spec, world(proposal.settings.world), how)
        outline, _ = proposal.tried(("specs", name), outlining)
        silent = unwritten_sections(spec, outline, how.documents) if outline else None
        if not silent:
            continue
        path = proposal.settings.specs[name]
        ends = [section for section, why in silent.items() if "end before" in why]
        others = [section for section in silent if section not in ends]
        if ends:
            yield proposal.warning(
                (*at, "documents"),
                f"{how.documents} documents end before {_listed(ends)} of {path}",
                "ask for more documents",
            )
        if others:
            yield proposal.warning(
                ("specs", name), f"{path}: no sentence to write about in {_listed(others)}",
                "write one there, or take it that no document is about it",
            )  # fmt: skip


def _listed(sections: list[str]) -> str:
    shown = ", ".join(f"'{section}'" for section in sections[:SHOWN])
    more = f" and {len(sections) - SHOWN} more" if len(sections) > SHOWN else ""
    return f"section{'s' if len(sections) > 1 else ''} {shown}{more}"
