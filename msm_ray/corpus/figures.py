"""The picture of a dataset card: how long documents are, and what they are about."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOR, MOST_BARS, LONGEST_LABEL = "#3d84b8", 20, 36


def overview(words: ArrayLike, domains: Counter[str], types: Counter[str]) -> bytes:
    """A PNG of three panels: documents by their words, by domain and by type (the 20 that most are of)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    words = np.asarray(words)
    bars = max(4, *(min(MOST_BARS, len(counts)) for counts in (domains, types)))
    canvas = Figure(figsize=(12, 1.2 + 0.24 * bars), layout="constrained")
    lengths, by_domain, by_type = canvas.subplots(1, 3)
    counts, edges = np.histogram(
        words, bins=min(40, max(5, len(words) // 5))
    )  # matplotlib's own takes 270 bytes a word
    lengths.hist(edges[:-1], edges, weights=counts, color=COLOR)
    lengths.set_xlabel("words", fontsize=8)
    lengths.set_ylabel("documents", fontsize=8)
    lengths.set_title("lengths", fontsize=10, loc="left")
    _bars(by_domain, "domains", domains)
    _bars(by_type, "types", types)
    for axes in (lengths, by_domain, by_type):
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    png = io.BytesIO()
    with (
        warnings.catch_warnings()
    ):  # a script that no installed font has is drawn as boxes; the card's tables have its text
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.savefig(png, format="png", dpi=110, metadata={"Software": None}, facecolor="white")
    return png.getvalue()


def _bars(axes: Axes, title: str, counts: Counter[str]) -> None:
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_BARS]
    more = len(counts) - len(shown)
    axes.barh(range(len(shown)), [count for _, count in shown], color=COLOR)
    labels = [name if len(name) <= LONGEST_LABEL else name[:LONGEST_LABEL] + "…" for name, _ in shown]
    axes.set_yticks(range(len(shown)), labels, parse_math=False)  # a writer's "$5 or $50" is no formula
    axes.invert_yaxis()
    axes.set_xlabel("documents", fontsize=8)
    axes.set_title(title + (f" (and {more} more)" if more else ""), fontsize=10, loc="left")
