"""What a report asks and shows."""

from __future__ import annotations

from msm_ray.settings_base import Settings


class Comparison(Settings):
    """A difference to report: rate of `a` minus rate of `b` in an eval."""

    a: str
    """An arm."""
    b: str
    """The arm that it is compared with."""
    eval: str
    """The eval whose rates are compared."""


class Figure(Settings):
    """A bar chart of the report."""

    title: str
    """What stands above it."""
    eval: str
    """The eval whose rates are shown."""
    arms: tuple[str, ...] = ()
    """Arms that are shown. None: all that the eval asks."""
    paper: dict[str, float] = {}
    """The paper's rates to stand beside ours, by arm."""
    paper_source: str = ""
    """What the paper did otherwise; stands beneath the figure."""


class ReportSettings(Settings):
    """What the report asks and shows."""

    question: str = ""
    """What the experiment is to find out."""
    comparisons: tuple[Comparison, ...] = ()
    """Differences with an interval and a p value."""
    figures: tuple[Figure, ...] = ()
    """Bar charts."""
