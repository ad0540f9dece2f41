"""Rates and differences with intervals that respect how rollouts hang together. Plain Python and NumPy.

Rollouts of one domain (or scenario condition) and of one training seed are not independent, so a pooled Wilson interval is
too narrow. Variances here are cluster-robust in two ways at once, by cluster and by seed (Cameron, Gelbach & Miller 2011,
"Robust inference with multiway clustering"): V = V_cluster + V_seed - V_cluster-and-seed. The t distribution has the degrees
of freedom of such a sum of variances (Satterthwaite 1946): three where four seeds decide, more where clusters do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions


@dataclass(frozen=True)
class Verdict:
    """One rollout's outcome. verdict: True, False, or None where there is none (no answer, no clear choice, failed judge)."""

    arm: str
    eval: str
    condition: str
    cluster: str
    seed: int
    sample: str
    verdict: bool | None


@dataclass(frozen=True)
class Rate:
    """A share with its 95% interval. completed of asked rollouts have a verdict; seeds: training seeds."""

    arm: str
    eval: str
    condition: str | None
    rate: float
    low: float
    high: float
    completed: int
    asked: int
    seeds: int


@dataclass(frozen=True)
class Difference:
    """Rate of a minus rate of b, with its 95% interval and two-sided p (not corrected for the number of comparisons)."""

    a: str
    b: str
    eval: str
    condition: str | None
    difference: float
    low: float
    high: float
    p: float


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for independent tries (Wilson 1927; Brown, Cai & DasGupta 2001). n = 0 gives (0, 1)."""
    if n == 0:
        return 0.0, 1.0
    z = distributions.norm.ppf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(verdicts: Sequence[Verdict], condition: str | None = None) -> Rate:
    """The rate of one arm in one eval: mean over conditions, each with the same weight (paper: mean over 27 conditions).

    condition: only this one. The interval is the wider of the two-way clustered one and Wilson's, since with few
    clusters that agree by chance the clustered variance can be too small, or zero.
    """
    rows = [v for v in verdicts if condition is None or v.condition == condition]
    if not rows:
        raise ValueError(f"no rollouts of condition {condition!r}")
    done = [v for v in rows if v.verdict is not None]
    first = rows[0]
    seeds = len({v.seed for v in rows})
    if not done:
        return Rate(first.arm, first.eval, condition, math.nan, 0.0, 1.0, 0, len(rows), seeds)
    outcome = np.array([float(bool(v.verdict)) for v in done])
    weights = _weights(done)
    estimate = float(weights @ outcome)
    low, high = _interval(estimate, weights * (outcome - estimate), done)
    plain_low, plain_high = wilson(estimate * len(done), len(done))
    low, high = max(0.0, min(low, plain_low)), min(1.0, max(high, plain_high))
    return Rate(first.arm, first.eval, condition, estimate, low, high, len(done), len(rows), seeds)


def difference(a: Sequence[Verdict], b: Sequence[Verdict], condition: str | None = None) -> Difference:
    """Rate of a minus rate of b. The arms share clusters and seeds, so what these do to both cancels (a paired comparison)."""
    parts = []
    for rows, sign in ((a, 1.0), (b, -1.0)):
        done = [v for v in rows if v.verdict is not None and (condition is None or v.condition == condition)]
        if not done:
            return Difference(a[0].arm, b[0].arm, a[0].eval, condition, math.nan, -1.0, 1.0, 1.0)
        outcome, weights = np.array([float(bool(v.verdict)) for v in done]), _weights(done)
        estimate = float(weights @ outcome)
        parts.append((sign * estimate, sign * weights * (outcome - estimate), done))
    value = parts[0][0] + parts[1][0]
    influence = np.concatenate([p[1] for p in parts])
    done = [*parts[0][2], *parts[1][2]]
    error, freedom = _standard_error(influence, done)
    if error == 0:  # no spread at all: the clusters are as many independent tries, and p is that of a sign test
        tries = len({(v.cluster, v.seed) for v in done})
        _, half = wilson(0, tries)
        p = min(1.0, 2 * 0.5**tries) if value else 1.0
        return Difference(
            a[0].arm, b[0].arm, a[0].eval, condition, value, max(-1.0, value - half), min(1.0, value + half), p
        )
    half = distributions.t.ppf(0.975, freedom) * error
    p = 2 * distributions.t.sf(abs(value) / error, freedom)
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Difference(a[0].arm, b[0].arm, a[0].eval, condition, value, low, high, float(p))


def _weights(rows: Sequence[Verdict]) -> np.ndarray:
    """Weights that sum to 1 and give every condition the same share."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.condition] = counts.get(row.condition, 0) + 1
    return np.array([1.0 / (len(counts) * counts[row.condition]) for row in rows])


def _interval(estimate: float, influence: np.ndarray, rows: Sequence[Verdict]) -> tuple[float, float]:
    error, freedom = _standard_error(influence, rows)
    half = distributions.t.ppf(0.975, freedom) * error
    return estimate - half, estimate + half


def _standard_error(influence: np.ndarray, rows: Sequence[Verdict]) -> tuple[float, float]:
    """Two-way clustered standard error and its degrees of freedom; one-way where there is one seed (or one cluster)."""
    clusters, seeds = [v.cluster for v in rows], [str(v.seed) for v in rows]
    ways = [names for names in (clusters, seeds) if len(set(names)) > 1]
    if not ways:  # nothing to cluster by: independent tries
        return math.sqrt(float(influence @ influence)), max(1, len(rows) - 1)
    parts = [_clustered_variance(influence, names) for names in ways]
    if len(parts) == 1:
        return math.sqrt(parts[0][0]), parts[0][1]
    parts.append(_clustered_variance(influence, [f"{c}\0{s}" for c, s in zip(clusters, seeds, strict=True)]))
    (by_cluster, _), (by_seed, _), (by_both, _) = parts
    # In small samples the sum can fall below one of its parts.
    combined = max(by_cluster + by_seed - by_both, by_cluster, by_seed)
    fewest = min(freedom for _, freedom in parts)
    spread = sum(variance**2 / freedom for variance, freedom in parts)
    return math.sqrt(combined), max(fewest, combined**2 / spread if spread > 0 else fewest)


def _clustered_variance(influence: np.ndarray, names: Sequence[str]) -> tuple[float, int]:
    """Sum over clusters of squared sums of influence, with the G / (G - 1) correction for few clusters; and G - 1."""
    _, index = np.unique(np.array(names), return_inverse=True)
    sums = np.bincount(index, weights=influence)
    count = len(sums)
    return float(sums @ sums) * count / (count - 1), count - 1
