"""What evals ask about stands in no training text."""

from __future__ import annotations

from collections.abc import Iterator

from msm_ray.evals import held_out
from msm_ray.preflight.finding import Finding, Severity
from msm_ray.preflight.proposal import Proposal

MOST_TOLD = 10
"""Findings of one file that are told one by one; the rest is counted."""


def not_held_out(proposal: Proposal) -> Iterator[Finding]:
    """Pairs and scenarios that a spec, a chat or a given document names are refused; what a mix names is told."""
    told: dict[tuple[str, bool], int] = {}
    problems = held_out.problems(proposal.settings)
    for problem in problems:
        group = problem.key, problem.refused
        told[group] = told.get(group, 0) + 1
        severity: Severity = "error" if problem.refused else "warning"
        if told[group] <= MOST_TOLD:
            yield Finding(severity, problem.what, problem.remedy, problem.file, problem.line, problem.key)
    for (key, refused), count in told.items():
        if count > MOST_TOLD:
            file = next(problem.file for problem in problems if problem.key == key)
            what = f"{count - MOST_TOLD} more are not held out either"
            yield Finding("error" if refused else "warning", what, "", file, None, key)
