"""Intervals: known values, coverage in simulation, and what a pooled interval would get wrong."""

import numpy as np
import pytest

from msm_ray.report import tables
from msm_ray.stats import Verdict, difference, rate, wilson


def verdicts(arm: str, shares: dict[tuple[str, int], float], n: int, rng: np.random.Generator) -> list[Verdict]:
    """n rollouts in every (cluster, seed) at that cell's share; the cluster is the condition."""
    return [
        Verdict(arm, "e", cluster, cluster, seed, f"{cluster}-{i}", bool(rng.random() < share))
        for (cluster, seed), share in shares.items()
        for i in range(n)
    ]


def test_wilson_equals_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 and 1 of 29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_every_condition_has_the_same_weight_whatever_its_size() -> None:
    rows = [Verdict("a", "e", "x", "x", 0, str(i), True) for i in range(90)]
    rows += [Verdict("a", "e", "y", "y", 0, str(i), False) for i in range(10)]
    assert rate(rows).rate == pytest.approx(0.5)


def test_missing_verdicts_are_counted_and_not_taken_for_a_side() -> None:
    rows = [Verdict("a", "e", "x", "x", 0, str(i), v) for i, v in enumerate([True, False, None, None])]
    result = rate(rows)
    assert (result.rate, result.completed, result.asked) == (0.5, 2, 4)
    assert np.isnan(rate([Verdict("a", "e", "x", "x", 0, "1", None)]).rate)


def test_an_interval_of_rollouts_that_all_agree_is_not_empty() -> None:
    rows = [Verdict("a", "e", c, c, 0, str(i), False) for c in "abc" for i in range(5)]
    result = rate(rows)
    assert result.rate == 0
    assert result.high > 0.1


def test_clusters_that_differ_widen_the_interval_beyond_the_pooled_one() -> None:
    rng = np.random.default_rng(0)
    shares = {(str(c), 0): float(c % 2) for c in range(10)}
    result = rate(verdicts("a", shares, 50, rng))
    low, high = wilson(result.rate * 500, 500)
    assert result.high - result.low > 3 * (high - low)


def test_coverage_of_rates_over_27_conditions_and_one_seed() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        shares = {(str(c), 0): float(np.clip(rng.normal(0.4, 0.15), 0, 1)) for c in range(27)}
        result = rate(verdicts("a", shares, 8, rng))
        hits += result.low <= 0.4 <= result.high
    assert 0.92 <= hits / 400 <= 0.99


@pytest.mark.parametrize(("seed_spread", "cluster_spread"), [(0.1, 0.0), (0.05, 0.05), (0.0, 0.1)])
def test_coverage_of_paired_differences_whose_effect_varies(seed_spread: float, cluster_spread: float) -> None:
    """Four seeds and nine domains; the effect itself differs by seed, by domain, or by both."""
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        place = {str(c): (rng.normal(0, 0.1), rng.normal(0, cluster_spread)) for c in range(9)}
        effect = {s: rng.normal(0.2, seed_spread) for s in range(4)}
        low = {(c, s): float(np.clip(0.4 + place[c][0], 0, 1)) for c in place for s in range(4)}
        high = {(c, s): share + effect[s] + place[c][1] for (c, s), share in low.items()}
        result = difference(verdicts("a", high, 10, rng), verdicts("b", low, 10, rng))
        hits += result.low <= 0.2 <= result.high
    assert 0.91 <= hits / 300 <= 0.99


def test_what_both_arms_share_cancels_in_their_difference() -> None:
    rng = np.random.default_rng(3)
    low = {(str(c), 0): 0.1 + 0.06 * c for c in range(10)}
    high = {key: share + 0.2 for key, share in low.items()}
    a, b = verdicts("a", high, 200, rng), verdicts("b", low, 200, rng)
    paired = difference(a, b)
    assert (
        paired.high - paired.low < 0.7 * ((rate(a).high - rate(a).low) ** 2 + (rate(b).high - rate(b).low) ** 2) ** 0.5
    )
    assert paired.p < 0.001


def test_no_difference_has_a_large_p_and_an_interval_over_zero() -> None:
    rng = np.random.default_rng(4)
    shares = {(str(c), s): 0.5 for c in range(9) for s in range(4)}
    result = difference(verdicts("a", shares, 10, rng), verdicts("b", shares, 10, rng))
    assert result.low < 0 < result.high
    assert result.p > 0.05


def test_two_identical_arms_differ_by_nothing_and_say_so() -> None:
    rows = [Verdict("a", "e", "x", str(i % 3), 0, str(i), True) for i in range(9)]
    result = difference(rows, rows)
    assert (result.difference, result.p) == (0.0, 1.0)


def test_arms_that_never_agree_differ_clearly_though_nothing_spreads() -> None:
    always = [Verdict("a", "e", "x", str(i % 9), 0, str(i), True) for i in range(90)]
    never = [Verdict("b", "e", "x", str(i % 9), 0, str(i), False) for i in range(90)]
    result = difference(always, never)
    assert result.low > 0.5
    assert result.p < 0.01


def test_tables_show_arms_without_a_verdict_as_such() -> None:
    """report.json holds null there: a table must neither fail on it nor print a number."""
    nothing = {"rate": None, "low": None, "high": None, "completed": 0, "asked": 5, "seeds": 1}
    rates = [
        {"arm": "g/x", "eval": "e", "condition": None, **nothing},
        {"arm": "g/x", "eval": "e", "condition": "c", **nothing},
    ]
    compared = {
        "eval": "e",
        "a": "g/x",
        "b": "g/y",
        "condition": None,
        "difference": None,
        "low": None,
        "high": None,
        "p": None,
    }
    for table in (tables._rates("e", rates), tables._differences([compared])):
        assert "no verdict" in [cell for column in table.columns for cell in column.cells]
