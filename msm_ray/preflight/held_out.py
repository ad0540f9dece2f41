"""What evals ask about stands in no training text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from msm_ray.config import ExperimentSettings
from msm_ray.config.recipes import used_specs
from msm_ray.evals.held_out import Kind, TrainingText
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.rows.files import read_file, texts_in
from msm_ray.worlds import has_texts

MOST_TOLD = 10
"""Findings of one file that are told one by one; the rest is counted."""


def not_held_out(proposal: Proposal) -> Iterator[Finding]:
    """What a spec, a chat or a given document names and an eval asks about is refused; what a mix names is told."""
    told: dict[tuple[str, bool], int] = {}
    findings = list(problems(proposal))
    for finding in findings:
        group = finding.key, finding.severity == "error"
        told[group] = told.get(group, 0) + 1
        if told[group] <= MOST_TOLD:
            yield finding
    for (key, refused), count in told.items():
        if count > MOST_TOLD:
            file = next(finding.file for finding in findings if finding.key == key)
            what = f"{count - MOST_TOLD} more are not held out either"
            yield Finding("error" if refused else "warning", what, "", file, None, key)


def problems(proposal: Proposal) -> Iterator[Finding]:
    """All of them. Files that cannot be read are left to the checks that read them."""
    texts = cache(lambda: list(training_texts(proposal.settings)))
    for name, how in proposal.settings.evals.items():
        yield from proposal.told(("evals", name), how.not_held_out(texts))


def training_texts(settings: ExperimentSettings) -> Iterator[TrainingText]:
    """The specs, chats, recorded documents and mixes that an experiment's arms are trained on, as far as files hold them."""
    specs = used_specs(settings)
    for spec in specs:
        yield from _whole(settings.specs[spec], "spec")
        how = settings.corpora.get(spec, settings.documents)
        path = how.path if how.is_given else how.replay if how.engine == "replay" else None
        if path:
            yield from _by_row(path, "document")
    mixes = {how.mix_source for how in (settings.aft, *(group.aft for group in settings.groups.values())) if how.mix}
    for name in dict.fromkeys([*(recipe.sft for recipe in settings.arms.values() if recipe.sft), *mixes]):
        chats = settings.chats.get(str(name))
        kind: Kind = "mix" if name in mixes else "chat"
        if chats and chats.path and not chats.given:
            yield from _whole(chats.path, kind)
        for rows in chats.given.values() if chats else ():
            yield from _by_row(rows.path, kind) if rows.path else ()
    if settings.midtraining.mix and settings.midtraining.mix_source and not has_texts(settings.midtraining.mix_source):
        yield from _by_row(str(settings.midtraining.mix_source), "mix")


def _whole(path: str, kind: Kind) -> Iterator[TrainingText]:
    try:
        yield TrainingText(path, None, Path(path).read_text(encoding="utf-8-sig"), kind)
    except (OSError, UnicodeDecodeError):
        return


def _by_row(path: str, kind: Kind) -> Iterator[TrainingText]:
    for line, row in read_file(path).rows:
        yield TrainingText(path, line, "\n".join(texts_in(row)), kind)
