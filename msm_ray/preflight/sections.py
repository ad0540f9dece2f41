"""Sections of a spec that no document would be about."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from msm_ray.config import ExperimentSettings
from msm_ray.experiment import document_settings
from msm_ray.generate.outline import unwritten_sections
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.settings_file import At
from msm_ray.spec import read_spec

SHOWN = 6


def without_documents(proposal: Proposal) -> Iterator[Finding]:
    """What no document says, no arm learns."""
    settings = proposal.settings
    used = {recipe.midtrain for recipe in settings.arms.values() if recipe.midtrain} & settings.specs.keys()
    for name in sorted(used):
        how = document_settings(settings, name)
        silent, _ = proposal.tried(("specs", name), partial(_unwritten, settings, name))
        if not silent:
            continue
        at: At = ("corpora", name, "documents") if name in settings.corpora else ("documents", "documents")
        ends = [section for section, why in silent.items() if "end before" in why]
        others = [section for section in silent if section not in ends]
        if ends:
            yield proposal.warning(
                at,
                f"{how.documents} documents end before {_listed(ends)} of {settings.specs[name]}",
                "ask for more documents",
            )
        if others:
            yield proposal.warning(
                ("specs", name), f"{settings.specs[name]}: no sentence to write about in {_listed(others)}",
                "write one there, or take it that no document is about it",
            )  # fmt: skip


def _unwritten(settings: ExperimentSettings, name: str) -> dict[str, str]:
    spec = read_spec(Path(settings.specs[name]), settings.assistant)
    return unwritten_sections(spec, document_settings(settings, name))


def _listed(sections: list[str]) -> str:
    shown = ", ".join(f"'{section}'" for section in sections[:SHOWN])
    more = f" and {len(sections) - SHOWN} more" if len(sections) > SHOWN else ""
    return f"section{'s' if len(sections) > 1 else ''} {shown}{more}"
