"""The checks, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msm_ray.config.file import WrongSettings, place
from msm_ray.preflight import (
    asking,
    base,
    block_room,
    buckets,
    checkpoints,
    files,
    given,
    held_out,
    outlines,
    recipes,
    report,
    resources,
    rewrites,
    sections,
    supply,
    training,
    writers,
)
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal

Check = Callable[[Proposal], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    base.base,
    checkpoints.given,
    files.specs,
    files.chats,
    files.recordings,
    given.documents,
    recipes.closed_language,
    recipes.continued,
    outlines.made_by,
    outlines.given,
    supply.ideas,
    sections.without_documents,
    supply.recordings,
    rewrites.writers,
    rewrites.supply,
    supply.chats,
    supply.mixed,
    base.writers,
    writers.known_calls,
    writers.can_be_asked,
    writers.patience,
    writers.prices,
    writers.lengths,
    writers.embedder,
    training.lora_rank,
    training.fits_base,
    training.steps,
    training.passes,
    held_out.not_held_out,
    asking.evals,
    asking.lengths,
    asking.written_lengths,
    asking.arms_without_chats,
    resources.placements,
    resources.this_machine,
    resources.places,
    resources.other_writer,
    buckets.reached,
    buckets.shared_cache,
    buckets.stages_elsewhere,
    resources.training_memory,
    resources.engine_memory,
    resources.disk,
    block_room.on_nodes,
    report.arms_not_asked,
    report.bars_without_source,
    report.tracking_key,
)


def check(proposal: Proposal) -> list[Finding]:
    """Every finding of every check, each once."""
    return list(dict.fromkeys(finding for one in CHECKS for finding in one(proposal)))


def check_rest(error: WrongSettings) -> list[Finding]:
    """What is wrong in an experiment file, and what the checks find in its other sections, so that all is told at once."""
    findings = [Finding("error", problem, "", error.path, place(at, error.lines)[0]) for at, problem in error.problems]
    whole = not any(at[:1] in (("arms",), ("aft",), ("groups",)) for at, _ in error.problems)
    rest = check(Proposal(error.sound, has_all_arms=whole)) if error.sound else []
    return list(dict.fromkeys(findings + [finding for finding in rest if not error.clouds(finding.key)]))
