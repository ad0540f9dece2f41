"""Do our intervals cover, and how often is "above" printed where there is no difference? `python -m benchmarks.statistics`.

27 scenario conditions x 20 rollouts and 8 domains x 80, 1 to 4 training seeds whose own rates spread by 0, .03 or .10 around
the recipe's. Conditions are alike, or fixed in advance and unlike (logits up to 1.5 apart from the middle). With one or two
seeds the interval should hold the rate of these checkpoints, with three or four the recipe's. `--tries N` per rate, `--json`.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import optimize, special

from benchmarks.measurements import hardware
from msm_ray import intervals, stats
from msm_ray.intervals import RECIPE_SEEDS, Rollouts

RATES = tuple(round(0.05 + 0.1 * i, 2) for i in range(10))
LAYOUTS = {"27 conditions x 20": (27, 20), "8 domains x 80": (8, 80)}
SPREADS = (0.0, 0.03, 0.10)
COMPARISONS = 8
LOW, HIGH = 93.0, 97.0


@dataclass(frozen=True)
class World:
    """What is simulated. unlike: largest distance of a condition's logit from the middle; shape: of the seeds' own rates."""

    layout: str
    unlike: float
    spread: float
    seeds: int
    shape: str = "normal"

    def conditions(self, rate: float) -> np.ndarray:
        """The conditions' rates, fixed, with the mean `rate`."""
        offsets = np.linspace(-self.unlike, self.unlike, LAYOUTS[self.layout][0])
        middle = optimize.brentq(lambda m: special.expit(m + offsets).mean() - rate, -12, 12)
        return special.expit(middle + offsets)

    def checkpoints(self, rate: float, rng: np.random.Generator) -> np.ndarray:
        """Rates of (condition, seed): a seed moves all conditions, as far as 0 and 1 let it."""
        fixed = self.conditions(rate)
        if self.shape == "beta":
            size = rate * (1 - rate) / self.spread**2 - 1
            moves = rng.beta(rate * size, (1 - rate) * size, self.seeds) - rate
        else:
            moves = rng.normal(0, self.spread, self.seeds) if self.spread else np.zeros(self.seeds)
        return np.clip(fixed[:, None] + moves, 0, 1)

    def recipe(self, rate: float) -> float:
        """The mean over all seeds that there could be: 0 and 1 take a part of the normal's tails."""
        if self.shape == "beta" or not self.spread:
            return rate
        m, s = self.conditions(rate), self.spread
        low, high = -m / s, (1 - m) / s
        density = [np.exp(-edge * edge / 2) / math.sqrt(2 * math.pi) for edge in (low, high)]
        inside = m * (special.ndtr(high) - special.ndtr(low)) + s * (density[0] - density[1])
        return float((inside + special.ndtr(-high)).mean())

    def rollouts(self, shares: np.ndarray, rng: np.random.Generator) -> Rollouts:
        """One arm's rollouts."""
        count, each = LAYOUTS[self.layout]
        grid = np.meshgrid(np.arange(count), np.arange(self.seeds), np.arange(each), indexing="ij")
        condition, seed, number = (axis.ravel() for axis in grid)
        outcome = (rng.random(len(condition)) < shares[condition, seed]).astype(float)
        return Rollouts(condition, condition, seed, condition * each + number, outcome)


@dataclass(frozen=True)
class Row:
    """One line of a table: percent at each rate, their mean, and the simulation error of the mean."""

    world: World
    at: tuple[float, ...]
    error: float

    @property
    def mean(self) -> float:
        """Over the rates."""
        return sum(self.at) / len(self.at)


def coverage(world: World, tries: int, rng: np.random.Generator) -> Row:
    """How often the interval of a rate holds what it should hold."""
    found = []
    for rate in RATES:
        hits, recipe = 0, world.recipe(rate)
        for _ in range(tries):
            shares = world.checkpoints(rate, rng)
            truth = recipe if world.seeds >= RECIPE_SEEDS else float(shares.mean())
            interval = intervals.rate(world.rollouts(shares, rng))
            hits += interval.low - 1e-9 <= truth <= interval.high + 1e-9
        found.append(100 * hits / tries)
    return _row(world, found, tries)


def false_words(world: World, tries: int, rng: np.random.Generator) -> tuple[Row, Row]:
    """Families of eight comparisons of equal recipes: in how many "above" or "below" is printed, and how often p < .05."""
    words, small = [], []
    for rate in RATES:
        families = [_family(world, rate, rng) for _ in range(tries)]
        words.append(100 * sum(any(d.word in ("above", "below") for d in family) for family in families) / tries)
        ps = [d.p for family in families for d in family if d.p is not None]
        small.append(100 * sum(p < stats.MOST_P for p in ps) / len(ps))
    return _row(world, words, tries), _row(world, small, tries * COMPARISONS)


def _family(world: World, rate: float, rng: np.random.Generator) -> tuple[stats.Difference, ...]:
    found = []
    for _ in range(COMPARISONS):
        a, b = (world.rollouts(world.checkpoints(rate, rng), rng) for _ in range(2))
        d = intervals.difference(a, b)
        assert d is not None
        clusters = LAYOUTS[world.layout][0]
        found.append(
            stats.Difference(
                "a", "b", world.layout, None, d.value, d.low, d.high, d.value, d.value, world.seeds, clusters,
                stats.RECIPE, clusters, p=d.p, p_at_bounds=d.p,
            )
        )  # fmt: skip
    return stats.claims(found)


def _row(world: World, found: list[float], tries: int) -> Row:
    share = sum(found) / len(found) / 100
    return Row(world, tuple(found), 100 * math.sqrt(max(share * (1 - share), 1e-4) / (tries * len(found))))


def worlds() -> Iterator[World]:
    """Everything whose coverage is measured."""
    for layout, unlike, spread, seeds in itertools.product(LAYOUTS, (0.0, 1.5), SPREADS, (1, 2, 3, 4)):
        yield World(layout, unlike, spread, seeds)
    for layout, seeds in itertools.product(LAYOUTS, (3, 4)):
        yield World(layout, 0.0, 0.10, seeds, "beta")


def _says(row: Row) -> str:
    """Whether a row of coverages is where it should be; too much is allowed where seeds have no effect."""
    if row.mean < LOW - 2 * row.error:
        return "too low"
    too_high = row.mean > HIGH + 2 * row.error
    return "" if not too_high else ("no effect of seeds" if row.world.spread == 0 else "too high")


def _table(title: str, rows: list[Row], note: bool) -> Table:
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    for column in ("layout", "conditions", "seeds' sd", "seeds", "mean"):
        table.add_column(column, no_wrap=True)
    for rate in RATES:
        table.add_column(f".{round(rate * 100):02d}", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        w = row.world
        spread = f"{w.spread:.2f}" + (" beta" if w.shape == "beta" else "")
        numbers = [f"{value:.0f}" if note else f"{value:.1f}" for value in row.at]
        alike = "unlike" if w.unlike else "alike"
        table.add_row(
            w.layout,
            alike,
            spread,
            str(w.seeds),
            f"{row.mean:.1f} ±{row.error:.1f}",
            *numbers,
            _says(row) if note else "",
        )
    return table


def main() -> None:
    """Print the tables, or one JSON object."""
    tries = int(sys.argv[sys.argv.index("--tries") + 1]) if "--tries" in sys.argv else 400
    rng = np.random.default_rng(11)
    covered = [coverage(world, tries, rng) for world in worlds()]
    nulls = [World(*world) for world in itertools.product(LAYOUTS, (1.5,), SPREADS, (3, 4))]
    words, small = zip(*(false_words(world, max(1, tries // 2), rng) for world in nulls), strict=True)
    if "--json" in sys.argv:
        tables = {"coverage": covered, "families with a false word": words, "p below .05": small}
        print(json.dumps({name: [asdict(row) for row in rows] for name, rows in tables.items()}, indent=1))
        return
    console = Console(width=140)
    console.print(
        _table(
            "coverage of 95% intervals of rates, % (these checkpoints: 1 and 2 seeds; the recipe: 3 and 4)",
            covered,
            True,
        )
    )
    console.print(
        _table(
            f'families of {COMPARISONS} without a difference in which "above" or "below" is printed, %',
            list(words),
            False,
        )
    )
    console.print(_table("single comparisons without a difference with p < .05, %", list(small), False))
    console.print(f"{tries} tries a rate, half as many families; {hardware()}", highlight=False)


if __name__ == "__main__":
    main()
