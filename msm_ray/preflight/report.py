"""What would be missing from the report, or from what is tracked."""

from __future__ import annotations

from collections.abc import Iterator

from msm_ray import tracking
from msm_ray.config.names import unasked
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal


def arms_not_asked(proposal: Proposal) -> Iterator[Finding]:
    """Comparisons and figures with arms that have no rate in their eval."""
    for at, problem in unasked(proposal.settings):
        what, _, remedy = problem.rpartition("; ")
        yield proposal.error(at, what, remedy)


def bars_without_source(proposal: Proposal) -> Iterator[Finding]:
    """The paper's bars beside ours say beneath what differs."""
    for index, figure in enumerate(proposal.settings.report.figures):
        if figure.paper and not figure.paper_source.strip():
            yield proposal.warning(
                ("report", "figures", index, "paper"), "the paper's rates stand beside ours and nothing says what differs",
                "name writer, texts and judge of the paper under paper_source",
            )  # fmt: skip


def tracking_key(proposal: Proposal) -> Iterator[Finding]:
    """W&B that is to be online and would have to ask for a key."""
    what, _, remedy = tracking.without_key(proposal.settings.tracking).rpartition("; ")
    if remedy:
        yield proposal.warning(("tracking", "mode"), what, remedy)
