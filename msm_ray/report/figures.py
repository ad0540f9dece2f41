"""Bar charts with intervals, the paper's numbers beside ours: SVG that a page holds and colors, and PNG for slides."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from msm_ray.report.settings import Figure
from msm_ray.stats import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Asked = ParamSpec("Asked")
OURS, PAPER, GROUP = "#3d84b8", "#b3964f", 0.38
FEW_CURVES = 8
"""Up to this many trainings have a color and a name of their own."""
INK = "#010203"
"""Lines and text. In SVG it becomes `currentColor`: a page draws it in the color of its own text, in dark mode too."""


@dataclass(frozen=True)
class Picture:
    """One chart. svg: without a background; text is text, so whoever shows it has fonts for more scripts than matplotlib."""

    svg: str
    png: bytes


_STYLE: Any = {
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.facecolor": "none",
}  # fmt: skip


def _styled(draw: Callable[Asked, Picture]) -> Callable[Asked, Picture]:
    """Drawn without a screen, in our ink."""

    @wraps(draw)
    def drawn(*args: Asked.args, **kwargs: Asked.kwargs) -> Picture:
        import matplotlib

        matplotlib.use("Agg")
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def _canvas(width: float, height: float) -> Canvas:
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height), layout="constrained")


@_styled
def bars(figure: Figure, rates: Sequence[Rate], chance: float | None = None) -> Picture:
    """One chart: a bar per arm with its 95% interval, and the paper's rate where it has that arm; a line at `chance`."""
    overall = {r.arm: r for r in rates if r.eval == figure.eval and r.condition is None}
    arms = [arm for arm in (figure.arms or tuple(overall)) if arm in overall]
    title = textwrap.fill(figure.title, 14 + 7 * len(arms))  # a legend of two words has its place beside it
    canvas = _canvas(max(4.6, 0.8 * len(arms) + 1.2), 3.6)
    axes = canvas.subplots()
    _draw_ours(axes, [overall[arm] for arm in arms])
    _draw_paper(axes, arms, figure.paper)
    if chance is not None:
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=0.5)
        axes.text(len(arms) - 0.45, chance, "chance", fontsize=8, va="center", color=INK, alpha=0.8)
    axes.set_xticks(range(len(arms)), [arm.partition("/")[2] for arm in arms], rotation=20, ha="right", fontsize=9)
    axes.set_xlim(-0.6, len(arms) - 0.4)
    axes.set_ylim(0, 1.08)  # room for the number above an interval that ends at 1
    axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_ylabel("rate", fontsize=9)
    axes.tick_params(axis="y", labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11, loc="left", parse_math=False)  # "$5 or $50" is no formula
    if figure.paper:
        axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderpad=0)
    return _picture(canvas)


@_styled
def curves(losses: Mapping[str, Sequence[tuple[int, float]]]) -> Picture:
    """Training losses: name -> (step, loss). One line a training."""
    canvas = _canvas(7.5, 3.2)
    axes = canvas.subplots()
    few = len(losses) <= FEW_CURVES
    for name, points in losses.items():
        steps, values = [step for step, _ in points], [loss for _, loss in points]
        kind = name.partition("/")[0]
        own = {"label": name} if few else {"color": OURS if kind == "midtrain" else PAPER, "alpha": 0.35}
        axes.plot(steps, values, linewidth=1, **own)
    if not few:
        for color, kind in ((OURS, "midtraining"), (PAPER, "fine-tuning")):
            axes.plot([], [], color=color, label=f"{kind}, a line a training")
    axes.set_xlabel("optimizer step", fontsize=8)
    axes.set_ylabel("loss", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, ncols=2)
    return _picture(canvas)


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
                fontsize=8,
            )
            continue
        errors = [[max(0.0, r.rate - r.low)], [max(0.0, r.high - r.rate)]]
        axes.errorbar(place, r.rate, yerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        axes.text(place, r.high + 0.02, f"{r.rate:.2f}", ha="center", fontsize=8)


def _draw_paper(axes: Axes, arms: Sequence[str], paper: Mapping[str, float]) -> None:
    there = [(i, paper[arm]) for i, arm in enumerate(arms) if arm in paper]
    if there:
        places, heights = [i + GROUP / 2 for i, _ in there], [height for _, height in there]
        axes.bar(places, heights, width=GROUP, color=PAPER, label="paper")
        for place, height in zip(places, heights, strict=True):
            axes.text(place, height + 0.02, f"{height:.2f}", ha="center", fontsize=8, color=PAPER)


def _picture(canvas: Canvas) -> Picture:
    import matplotlib

    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "msm_ray", "svg.fonttype": "none"}):
        canvas.savefig(svg, format="svg", metadata={"Date": None}, transparent=True)
    with warnings.catch_warnings():  # a script that no installed font has is drawn as boxes; the SVG has its text
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.savefig(png, format="png", dpi=160, metadata={"Software": None}, facecolor="white")
    drawn = svg.getvalue()
    return Picture(drawn[drawn.index("<svg") :].replace(INK, "currentColor"), png.getvalue())
