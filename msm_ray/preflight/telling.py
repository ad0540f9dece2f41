"""Findings to people and to exit codes."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from msm_ray.errors import MsmError
from msm_ray.preflight.finding import Finding


class Refused(MsmError):
    """A run that was refused; the message holds every error that was found."""

    def __init__(self, findings: Sequence[Finding]):
        errors = [finding for finding in findings if finding.severity == "error"]
        start = "nothing was started" + ("" if len(errors) == 1 else f", {len(errors)} things have to be mended")
        super().__init__("\n".join([f"{start}:", *(f"  {finding.line_of_text()}" for finding in errors)]))
        self.exit_code = exit_code(errors)


def refuse(findings: Sequence[Finding], wanted: Collection[str]) -> None:
    """Raise Refused, naming all errors at once, where they concern stages of the kinds `wanted`."""
    concerned = (f for f in findings if f.exit_code == 2 or not f.stages or set(f.stages) & set(wanted))
    errors = [finding for finding in concerned if finding.severity == "error"]
    if errors:
        raise Refused(errors)


def exit_code(findings: Sequence[Finding]) -> int:
    """2 where some error is in settings or files, else 3 where one is in what the machine lacks, else 0."""
    return min((f.exit_code for f in findings if f.severity == "error"), default=0)


def show(findings: Sequence[Finding]) -> str:
    """All findings as lines for people, errors first; an empty text where there are none."""
    order = ("error", "warning", "not checked")
    ranked = sorted(findings, key=lambda finding: order.index(finding.severity))
    return "\n".join(f"{finding.severity}: {finding.line_of_text()}" for finding in ranked)


def say(findings: Sequence[Finding]) -> None:
    """What does not refuse a run, on standard error before it starts."""
    told = show([finding for finding in findings if finding.severity != "error"])
    for line in told.splitlines():
        print(f"msm: {line}", file=sys.stderr, flush=True)
