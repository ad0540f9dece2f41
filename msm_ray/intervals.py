"""The numbers beneath `stats`: rates and differences of rollouts given as arrays. NumPy only, so that simulations are quick.

What is estimated (docs/decisions/0002-intervals.md): conditions and clusters are fixed in advance, each with its share of
what was *asked*. With one or two training seeds the target is the rate of these checkpoints, and the error is that of
drawing items and answers. With three or more it is the recipe's rate, and the spread between seeds is measured too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RECIPE_SEEDS = 3
"""From this number of training seeds on, the spread between seeds is estimated; below, numbers are of these checkpoints."""
NORMAL_QUANTILE = 1.959963984540054
"""Of the normal distribution, at 0.975."""


@dataclass(frozen=True)
class Rollouts:
    """One arm's rollouts in one eval, arrays of equal length. outcome: 1.0, 0.0, or NaN where there is none.

    The other arrays are integer codes: unit is what was drawn together (both orders of a pair); two arms that are compared
    share their codes.
    """

    condition: np.ndarray
    cluster: np.ndarray
    seed: np.ndarray
    unit: np.ndarray
    outcome: np.ndarray

    @property
    def seeds(self) -> int:
        """How many training seeds were asked."""
        return len(np.unique(self.seed))


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval. p: two-sided, of the same test as the interval; None for rates."""

    value: float
    low: float
    high: float
    p: float | None = None


@dataclass(frozen=True)
class _Weighted:
    """The rollouts that have an outcome; weights sum to 1."""

    rows: Rollouts
    weight: np.ndarray
    value: float


def wilson(share: float, variance: float, tries: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval (1927) where the variance of the share is not that of independent tries.

    The number of tries is the one at which independent ones have that variance, and `tries` at most: without any spread
    this is Wilson's own interval of that many.
    """
    n = _effective(share, variance, tries)
    centre = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    half = quantile / (1 + quantile**2 / n) * math.sqrt(min(variance, 0.25) + quantile**2 / (4 * n * n))
    # A share is in its own interval, also where rounding would leave it out by the last digit (0 and 1).
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def rate(rollouts: Rollouts, confidence: float = 0.95) -> Interval:
    """The weighted mean of the outcomes and its interval; NaN between 0 and 1 where there is no outcome at all."""
    arm = _weighted(rollouts)
    if arm is None:
        return Interval(math.nan, 0.0, 1.0)
    within = _within([arm])
    low, high = wilson(arm.value, within.variance, within.tries, _quantile(confidence, within.freedom))
    if rollouts.seeds >= RECIPE_SEEDS:
        between, between_freedom = _between_seeds(arm)
        shared = max(0.0, within.variance - within.by_seed)  # items are the same for every seed: what they share stays
        freedom = _satterthwaite([(between, between_freedom), (shared, within.freedom)])
        wide = wilson(arm.value, between + shared, within.tries, _quantile(confidence, freedom))
        low, high = min(low, wide[0]), max(high, wide[1])
    return Interval(arm.value, low, high)


def difference(a: Rollouts, b: Rollouts, confidence: float = 0.95) -> Interval | None:
    """Rate of a minus rate of b, paired by item and cluster and never by seed; None where one has no outcome.

    The interval leaves zero out exactly where p < 1 - confidence: both are of one test. Variances get Wilson's own term
    (a quarter of z squared over squared tries), so that arms without any spread do not differ for certain.
    """
    first, second = _weighted(a), _weighted(b)
    if first is None or second is None:
        return None
    value = first.value - second.value
    floor = sum(_floor(arm.value, _within([arm])) for arm in (first, second))
    within = _within([first, second])
    tests = [(math.sqrt(within.variance + floor), within.freedom)]
    if min(a.seeds, b.seeds) >= RECIPE_SEEDS:
        parts = [_between_seeds(first), _between_seeds(second), _clusters_apart(first, second)]
        tests.append((math.sqrt(sum(v for v, _ in parts) + floor), _satterthwaite(parts)))
    half = max(_quantile(confidence, free) * error for error, free in tests)
    p = max(2 * _tail(free, -abs(value) / error) for error, free in tests)
    return Interval(value, max(-1.0, value - half), min(1.0, value + half), p)


def _weighted(rollouts: Rollouts) -> _Weighted | None:
    """Every condition weighs the same, in it every seed, in that every cluster by what was asked of it.

    A cell (condition, seed, cluster) keeps its weight however many of its rollouts have an outcome; what an empty one had
    goes to the others of its condition.
    """
    done = ~np.isnan(rollouts.outcome)
    if not done.any():
        return None
    by_condition = _codes(rollouts.condition)
    by_seed = _codes(rollouts.condition, rollouts.seed)
    cell = _codes(rollouts.condition, rollouts.seed, rollouts.cluster)
    seeds_of = np.bincount(by_condition[_firsts(by_seed)])
    asked = 1.0 / (seeds_of[by_condition] * np.bincount(by_seed)[by_seed])
    share = np.bincount(cell, weights=asked)
    answered = np.bincount(cell, weights=done)
    weight = share[cell][done] / answered[cell][done]
    of_condition = np.bincount(by_condition[done], weights=weight)
    weight = weight / (of_condition[by_condition[done]] * np.count_nonzero(of_condition))
    rows = Rollouts(*(array[done] for array in _arrays(rollouts)))
    return _Weighted(rows, weight, min(1.0, float(weight @ rows.outcome)))  # rounding adds a last digit


@dataclass(frozen=True)
class _Within:
    """Variance of drawing items and answers, its degrees of freedom, and the independent tries that there are at most.

    by_seed: the part of the variance that seeds do not share.
    """

    variance: float
    freedom: float
    tries: int
    by_seed: float


def _within(arms: list[_Weighted]) -> _Within:
    """The error of drawing items and answers in each condition and cluster; two arms are paired by unit."""
    pull, seed, stratum, unit = _pulls(arms)
    part = _codes(seed, unit)
    table = np.zeros((int(unit.max()) + 1, int(seed.max()) + 1))
    np.add.at(table, (unit, seed), pull)
    parts_of = np.bincount(stratum[_firsts(part)])
    seeds_of = np.bincount(stratum[_firsts(_codes(stratum, seed))])
    per_seed = parts_of / seeds_of
    correction = (per_seed / np.maximum(per_seed - 1, 1))[stratum[_firsts(unit)]]
    seeds = table.shape[1]
    residual = table - table.mean(axis=1, keepdims=True)
    by_seed = (residual**2).sum(axis=1) * (seeds / (seeds - 1) if seeds > 1 else 1.0)
    return _Within(
        variance=float(correction @ table.sum(axis=1) ** 2),
        freedom=max(1.0, float(np.maximum(per_seed - 1, 0).sum())),
        tries=int(part.max()) + 1,
        by_seed=float(correction @ by_seed),
    )


def _pulls(arms: list[_Weighted]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What each rollout does to the estimate around its cell's mean; with codes of (arm, seed), stratum and unit."""
    rows = [arm.rows for arm in arms]
    side = np.concatenate([np.full(len(r.seed), i) for i, r in enumerate(rows)])
    weight = np.concatenate([arm.weight for arm in arms])
    outcome = np.concatenate([r.outcome for r in rows])
    condition, cluster, seed, unit = (
        np.concatenate([getattr(r, name) for r in rows]) for name in ("condition", "cluster", "seed", "unit")
    )
    seed = _codes(side, seed)
    stratum, unit = _strata(condition, cluster, seed, unit)
    cell = _codes(stratum, seed)
    mean = np.bincount(cell, weights=weight * outcome) / np.bincount(cell, weights=weight)
    sign = np.where(side == 0, 1.0, -1.0)
    return sign * weight * (outcome - mean[cell]), seed, stratum, unit


def _strata(
    condition: np.ndarray, cluster: np.ndarray, seed: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Strata in which units can be told apart, and the units.

    A stratum is a condition's cluster. Clusters with one unit are joined within their condition; where that leaves one (a
    scenario that is asked 300 times), the rollouts are the units; single rollouts are joined over conditions.
    """
    stratum = _codes(condition, cluster)
    unit = _codes(stratum, unit)
    alone = _units_in(stratum, unit)[stratum] < 2
    stratum = _codes(alone, np.where(alone, condition, stratum))
    unit = _codes(stratum, unit)
    alone = _units_in(stratum, unit)[stratum] < 2
    unit = _codes(alone, np.where(alone, np.arange(len(unit)), unit))
    single = np.bincount(_codes(stratum, seed))[_codes(stratum, seed)] < 2
    stratum = _codes(single, np.where(single, 0, stratum))
    return stratum, _codes(stratum, unit)


def _units_in(stratum: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Units of each stratum."""
    return np.bincount(stratum[_firsts(unit)])


def _between_seeds(arm: _Weighted) -> tuple[float, float]:
    """Variance of the mean over seeds, from the seeds' own rates; and its degrees of freedom."""
    names = _codes(arm.rows.seed)
    pulls = np.bincount(names, weights=arm.weight * (arm.rows.outcome - arm.value))
    count = len(pulls)
    return (float(pulls @ pulls) * count / (count - 1), count - 1) if count > 1 else (0.0, 1)


def _clusters_apart(a: _Weighted, b: _Weighted) -> tuple[float, float]:
    """Variance of the difference over clusters beyond what `_between_seeds` holds already; and its degrees of freedom."""
    clusters = _codes(np.concatenate([a.rows.cluster, b.rows.cluster]))
    count = clusters.max() + 1
    if count < 2:
        return 0.0, 1
    sums, residual, start = np.zeros(count), 0.0, 0
    for arm, sign in ((a, 1.0), (b, -1.0)):
        own = clusters[start : start + len(arm.weight)]
        start += len(arm.weight)
        seeds = _codes(arm.rows.seed)
        table = np.zeros((count, seeds.max() + 1))
        np.add.at(table, (own, seeds), arm.weight * (arm.rows.outcome - arm.value))
        sums += sign * table.sum(axis=1)
        residual += _two_way_residual(table)
    return max(0.0, float(sums @ sums) * count / (count - 1) - residual), count - 1


def _two_way_residual(table: np.ndarray) -> float:
    """Sum of squares of a table less its rows' and columns' means, scaled so as to be comparable to sums of rows' squares."""
    rows, columns = table.shape
    if rows < 2 or columns < 2:
        return 0.0
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    return float((residual**2).sum()) * rows * columns / ((rows - 1) * (columns - 1))


def _floor(share: float, within: _Within) -> float:
    return (NORMAL_QUANTILE / (2 * _effective(share, within.variance, within.tries))) ** 2


def _effective(share: float, variance: float, tries: float) -> float:
    spread = max(0.0, share * (1 - share))
    return max(1.0, min(tries, spread / variance)) if variance > 0 and spread > 0 else max(1.0, tries)


def _satterthwaite(parts: list[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of independent variances (Satterthwaite 1946), never fewer than the fewest."""
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / freedom for variance, freedom in parts)
    fewest = min(freedom for _, freedom in parts)
    return max(fewest, total**2 / spread) if spread > 0 else fewest


def _tail(freedom: float, t: float) -> float:
    """Student's distribution function."""
    from scipy import special

    return float(special.stdtr(freedom, t))


def _quantile(confidence: float, freedom: float) -> float:
    from scipy import special

    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


def _codes(*names: np.ndarray) -> np.ndarray:
    """One integer code, from 0 without a gap, for each combination of non-negative integers that occurs."""
    code = _without_gaps(names[0].astype(np.int64))
    for more in names[1:]:
        inner = _without_gaps(more.astype(np.int64))
        code = _without_gaps(code * (inner.max() + 1) + inner)
    return code


def _without_gaps(code: np.ndarray) -> np.ndarray:
    """Counting is several times faster than the sort of `np.unique`."""
    occurs = np.bincount(code) > 0
    return (np.cumsum(occurs) - 1)[code]


def _firsts(code: np.ndarray) -> np.ndarray:
    """Where each code stands first."""
    places = np.empty(code.max() + 1, dtype=np.int64)
    places[code[::-1]] = np.arange(len(code))[::-1]
    return places


def _arrays(rollouts: Rollouts) -> tuple[np.ndarray, ...]:
    return rollouts.condition, rollouts.cluster, rollouts.seed, rollouts.unit, rollouts.outcome
