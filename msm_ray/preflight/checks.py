"""The checks, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msm_ray.preflight import asking, base, files, held_out, recipes, report, scenarios, supply, training
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal

Check = Callable[[Proposal], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    base.base,
    files.specs,
    files.chats,
    files.recordings,
    files.questions,
    scenarios.scenarios,
    recipes.closed_language,
    recipes.continued,
    supply.ideas,
    supply.recordings,
    supply.chats,
    supply.mixed,
    base.writers,
    training.lora_rank,
    training.steps,
    training.passes,
    held_out.not_held_out,
    asking.judges,
    asking.worlds,
    asking.lengths,
    asking.arms_without_chats,
    report.arms_not_asked,
    report.bars_without_source,
    report.tracking_key,
)


def check(proposal: Proposal) -> list[Finding]:
    """Every finding of every check, each once."""
    return list(dict.fromkeys(finding for one in CHECKS for finding in one(proposal)))
