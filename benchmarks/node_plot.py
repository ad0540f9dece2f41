"""The plot of `benchmarks.generation nodes --plot FILE`: what more nodes give, by clusters that ran and by the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

MOST, GOAL = 1024, 0.9


def plot(file: Path, seen: Mapping[int, float], model: Callable[[float], float], bend: float) -> None:
    """A PNG. seen: nodes -> rate over so many times one node's; model: the same; bend: nodes from which the driver is full."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(7, 3.6), layout="constrained")
    axes = canvas.subplots()
    nodes = [2 ** (step / 8) for step in range(81)]
    axes.plot(
        nodes, [model(number) for number in nodes], color="#3d84b8", label="model, each node with cores of its own"
    )
    axes.plot(list(seen), list(seen.values()), "o", color="#c0504d", label="run, all nodes on this machine's cores")
    axes.axhline(GOAL, color="#888888", linewidth=0.8, linestyle=":", label=f"goal, {GOAL}")
    axes.axvline(
        bend, color="#888888", linewidth=0.8, linestyle="--", label=f"no time left for the driver: {bend:,.0f} nodes"
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16, 64, 256, MOST], ["1", "2", "4", "8", "16", "64", "256", f"{MOST:,}"])
    axes.set_xlabel("nodes", fontsize=9)
    axes.set_ylabel("rate over nodes times one node's", fontsize=9)
    axes.set_ylim(0, 1.1)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)
    canvas.savefig(file, dpi=110, metadata={"Software": None}, facecolor="white")
