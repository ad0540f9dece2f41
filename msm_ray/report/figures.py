"""Bar charts with intervals, the paper's numbers beside ours. SVG text, so that a page can hold them without other files."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from msm_ray.config import Figure
from msm_ray.stats import Rate

matplotlib.use("Agg")
OURS, PAPER, GROUP = "#2f6f9f", "#c9b27c", 0.38


def bars(figure: Figure, rates: Sequence[Rate]) -> bytes:
    """One chart as SVG: a bar per arm with its 95% interval, and the paper's rate where it has that arm."""
    overall = {r.arm: r for r in rates if r.eval == figure.eval and r.condition is None}
    arms = [arm for arm in (figure.arms or tuple(overall)) if arm in overall]
    canvas = Canvas(figsize=(max(5.0, 1.35 * len(arms) + 1.5), 3.6), layout="constrained")
    axes = canvas.subplots()
    _draw_ours(axes, [overall[arm] for arm in arms])
    _draw_paper(axes, arms, figure.paper)
    axes.set_xticks(range(len(arms)), [arm.partition("/")[2] for arm in arms], rotation=18, ha="right", fontsize=8)
    axes.set_ylim(0, 1.08)  # room for the number above an interval that ends at 1
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_ylabel("rate", fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(figure.title, fontsize=10, loc="left", parse_math=False)  # "$5 or $50" is no formula
    if figure.paper:
        axes.legend(fontsize=7, frameon=False, loc="upper right")
    return _svg(canvas)


def curves(losses: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Training losses: name -> (step, loss). One line a training."""
    canvas = Canvas(figsize=(7.5, 3.2), layout="constrained")
    axes = canvas.subplots()
    for name, points in losses.items():
        axes.plot([step for step, _ in points], [loss for _, loss in points], linewidth=1, label=name)
    axes.set_xlabel("optimizer step", fontsize=8)
    axes.set_ylabel("loss", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if len(losses) <= 16:
        axes.legend(fontsize=6, frameon=False, ncols=2)
    return _svg(canvas)


def _draw_ours(axes: Axes, rates: Sequence[Rate]) -> None:
    """A bar and its interval; a pale bar from bound to bound where conditions lack verdicts."""
    places = [i - GROUP / 2 for i in range(len(rates))]
    heights = [0.0 if math.isnan(r.rate) else r.rate for r in rates]
    axes.bar(places, heights, width=GROUP, color=OURS, label="here")
    for place, r in zip(places, rates, strict=True):
        if math.isnan(r.rate):
            bounded = r.short and r.completed
            if bounded:
                axes.bar(place, r.upper - r.lower, bottom=r.lower, width=GROUP, color=OURS, alpha=0.25)
            axes.text(
                place,
                (r.upper if bounded else 0.0) + 0.02,
                "bound" if bounded else "no verdict",
                ha="center",
                fontsize=7,
            )
            continue
        errors = [[max(0.0, r.rate - r.low)], [max(0.0, r.high - r.rate)]]
        axes.errorbar(place, r.rate, yerr=errors, fmt="none", ecolor="#222", elinewidth=1, capsize=3)
        axes.text(place, r.high + 0.02, f"{r.rate:.2f}", ha="center", fontsize=7)


def _draw_paper(axes: Axes, arms: Sequence[str], paper: Mapping[str, float]) -> None:
    there = [(i, paper[arm]) for i, arm in enumerate(arms) if arm in paper]
    if there:
        places, heights = [i + GROUP / 2 for i, _ in there], [height for _, height in there]
        axes.bar(places, heights, width=GROUP, color=PAPER, label="paper")
        for place, height in zip(places, heights, strict=True):
            axes.text(place, height + 0.02, f"{height:.2f}", ha="center", fontsize=7, color="#7a6635")


def _svg(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    # Text stays text: whoever shows the page has fonts for more scripts than matplotlib ships.
    with matplotlib.rc_context({"svg.hashsalt": "msm_ray", "svg.fonttype": "none"}):
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
