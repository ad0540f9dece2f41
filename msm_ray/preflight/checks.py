"""The checks, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msm_ray.preflight import held_out, report, training
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal

Check = Callable[[Proposal], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    training.lora_rank,
    held_out.not_held_out,
    report.arms_not_asked,
    report.tracking_key,
)


def check(proposal: Proposal) -> list[Finding]:
    """Every finding of every check."""
    return [finding for one in CHECKS for finding in one(proposal)]
