"""Rates, differences and the words said of them: known values, coverage, pilots, gaps, answers without a choice."""

import math

import numpy as np
import pytest

from benchmarks.statistics import RATES, World, coverage, false_words
from msm_ray.intervals import wilson
from msm_ray.report import tables, words
from msm_ray.stats import Difference, Rate, Verdict, claims, difference, holm, rate

Shares = dict[tuple[str, int], float]


def verdicts(arm: str, shares: Shares, n: int, rng: np.random.Generator) -> list[Verdict]:
    """n rollouts in every (cluster, seed) at that cell's share; the cluster is the condition."""
    return [
        Verdict(arm, "e", cluster, cluster, seed, f"{cluster}-{i}", bool(rng.random() < share), "ok")
        for (cluster, seed), share in shares.items()
        for i in range(n)
    ]


def cells(share: float, clusters: int = 9, seeds: int = 4) -> Shares:
    return {(str(c), s): share for c in range(clusters) for s in range(seeds)}


def counted(
    arm: str, trues: int, falses: int, condition: str = "x", *, unclear: int = 0, lost: int = 0, seeds: int = 4
) -> list[Verdict]:
    """So many rollouts of each outcome in every one of eight domains and every seed."""
    outcomes = (
        [(True, "ok")] * trues + [(False, "ok")] * falses + [(None, "unclear")] * unclear + [(None, "error")] * lost
    )
    return [
        Verdict(arm, "e", condition, f"domain {d}", s, f"{condition} {d} {i}", verdict, status)
        for d in range(8)
        for s in range(seeds)
        for i, (verdict, status) in enumerate(outcomes)
    ]


def said(*pairs: Difference) -> list[str | None]:
    return [d.word for d in claims(pairs)]


def test_wilson_equals_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 and 1 of 29.
    for successes, n, expected in ((81, 263, (0.2553, 0.3662)), (1, 29, (0.0061, 0.1718))):
        share = successes / n
        assert wilson(share, share * (1 - share) / n, n, 1.959964) == pytest.approx(expected, abs=1e-4)
    assert wilson(1.0, 0.0, 540, 1.96)[1] == 1.0


def test_every_condition_has_the_same_weight_whatever_its_size() -> None:
    rows = [Verdict("a", "e", "x", "x", 0, str(i), True) for i in range(90)]
    rows += [Verdict("a", "e", "y", "y", 0, str(i), False) for i in range(10)]
    assert rate(rows).rate == pytest.approx(0.5)


def test_a_domain_weighs_by_what_was_asked_of_it_whatever_was_answered() -> None:
    """A domain in which an arm often makes no choice does not lose its weight."""
    rows = [Verdict("a", "e", "x", "p", 0, f"p{i}", True, "ok") for i in range(20)]
    rows += [
        Verdict("a", "e", "x", "q", 0, f"q{i}", False if i < 5 else None, "ok" if i < 5 else "unclear")
        for i in range(20)
    ]
    assert rate(rows).rate == pytest.approx(0.5)


@pytest.mark.parametrize("seeds", [1, 2])
def test_with_one_or_two_seeds_nothing_is_claimed(seeds: int) -> None:
    rng = np.random.default_rng(0)
    d = difference(verdicts("a", cells(0.9, seeds=seeds), 50, rng), verdicts("b", cells(0.1, seeds=seeds), 50, rng))
    (judged,) = claims([d])
    assert judged.low > 0.7
    assert (judged.p, judged.p_holm, judged.word, judged.of) == (None, None, None, "these checkpoints")
    sentence = words.sentence(judged)
    assert "above" not in sentence and "below" not in sentence and " p " not in sentence
    assert "these checkpoints" in sentence
    assert "seeds=4" in words.note_of_seeds((rate(verdicts("a", cells(0.5, seeds=seeds), 5, rng)),))


def test_four_seeds_speak_of_the_recipe() -> None:
    rng = np.random.default_rng(0)
    d = difference(verdicts("a", cells(0.9), 50, rng), verdicts("b", cells(0.1), 50, rng))
    assert said(d) == ["above"]
    assert (d.of, d.clusters, d.seeds) == ("the recipe", 9, 4)
    assert words.note_of_seeds((rate(verdicts("a", cells(0.5), 5, rng)),)) == ""


def test_more_seeds_are_no_remedy_for_checkpoints_that_are_given() -> None:
    rng = np.random.default_rng(0)
    given, ours = (rate(verdicts(arm, cells(0.5, seeds=1), 5, rng)) for arm in ("given", "ours"))
    said = words.note_of_seeds((given,), ["given"])
    assert "seeds=4" not in said and "one set of weights" in said
    assert "seeds=4" in words.note_of_seeds((given, ours), ["given"])


def test_seeds_of_different_arms_are_not_paired() -> None:
    """Seeds that go up and down together by chance say nothing: each arm's trainings spread by .2 and the arms differ by .1."""
    rng, moves = np.random.default_rng(1), (-0.25, -0.1, 0.1, 0.25)
    a = {(str(c), s): 0.55 + moves[s] for c in range(9) for s in range(4)}
    b = {(str(c), s): 0.45 + moves[s] for c in range(9) for s in range(4)}
    d = difference(verdicts("a", a, 100, rng), verdicts("b", b, 100, rng))
    assert d.low < 0 < d.high
    assert d.p is not None and d.p > 0.3


def test_conditions_are_fixed_so_that_they_may_differ_without_widening_a_rate() -> None:
    rng = np.random.default_rng(0)
    alike = rate(verdicts("a", cells(0.5, 10, 1), 50, rng))
    unlike = rate(verdicts("a", {(c, s): 0.1 + 0.8 * (int(c) % 2) for c, s in cells(0, 10, 1)}, 50, rng))
    assert unlike.high - unlike.low < 0.75 * (alike.high - alike.low)


def test_both_orders_of_a_pair_are_one_draw() -> None:
    """An arm that answers a pair alike in both orders was asked half as much as it seems; one that takes the first, nothing."""

    def asked(first: bool) -> Rate:
        rows = [(d, i, order) for d in range(6) for i in range(10) for order in range(2)]
        return rate(
            [
                Verdict(
                    "a", "e", "x", str(d), 0, f"{d} {i} {order}", order == 0 if first else i % 2 == 0, unit=f"{d} {i}"
                )
                for d, i, order in rows
            ]
        )

    same, first = asked(first=False), asked(first=True)
    assert (same.rate, first.rate) == (pytest.approx(0.5), pytest.approx(0.5))
    assert same.high - same.low > 0.22
    assert first.high - first.low < 0.1


def test_what_both_arms_share_cancels_in_their_difference() -> None:
    rng = np.random.default_rng(3)
    low = {(str(c), s): 0.1 + 0.06 * c for c in range(10) for s in range(4)}
    a = verdicts("a", {key: share + 0.2 for key, share in low.items()}, 200, rng)
    d = difference(a, verdicts("b", low, 200, rng))
    assert d.high - d.low < 0.1
    assert d.p is not None and d.p < 0.001


def test_a_difference_that_only_one_domain_shows_is_none() -> None:
    rng = np.random.default_rng(5)
    one = {(c, s): 0.9 if c == "0" else 0.5 for c, s in cells(0)}
    d = difference(verdicts("a", one, 60, rng), verdicts("b", cells(0.5), 60, rng))
    assert said(d) == ["no difference is shown"]


@pytest.mark.parametrize("lost", [0, 1])
def test_arms_at_exactly_one_do_not_differ(lost: int) -> None:
    """Missing verdicts change weights by a last digit: that is no difference without any spread."""
    always = counted("a", 30, 0, lost=lost)
    d = difference(always[: -1 - lost], counted("b", 30, 0, lost=0))
    assert d.low < 0 < d.high
    assert d.p == pytest.approx(1.0)
    assert said(d) == ["no difference is shown"]


def test_arms_that_never_agree_differ_clearly_though_nothing_spreads() -> None:
    d = difference(counted("a", 10, 0), counted("b", 0, 10))
    assert d.low > 0.5
    assert said(d) == ["above"]


@pytest.mark.parametrize("clusters", [1, 2, 4, 5])
@pytest.mark.parametrize("n", [1, 20])
def test_pilots_of_few_clusters_claim_nothing(clusters: int, n: int) -> None:
    rng = np.random.default_rng(0)
    d = difference(verdicts("a", cells(1.0, clusters), n, rng), verdicts("b", cells(0.0, clusters), n, rng))
    assert said(d) == [None]
    assert d.p is None and str(clusters) in d.why
    assert "above" not in words.sentence(d)


@pytest.mark.parametrize("clusters", [6, 27])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.5])
def test_interval_and_p_are_of_one_test(clusters: int, share: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(8):
        d = difference(
            verdicts("a", cells(share + 0.04, clusters), 20, rng), verdicts("b", cells(share, clusters), 20, rng)
        )
        assert d.p is not None
        assert (d.p < 0.05) == (d.low > 0 or d.high < 0)


def test_a_condition_without_verdicts_makes_a_bound_and_not_a_difference() -> None:
    """Two equal arms, .75 in one condition and .2 in the other, which one of them was never judged in."""
    a = counted("a", 15, 5, "x") + counted("a", 0, 0, "y", lost=20)
    b = counted("b", 15, 5, "x") + counted("b", 4, 16, "y")
    bounded = rate(a)
    assert bounded.short == ("y",)
    assert math.isnan(bounded.rate)
    assert (bounded.lower, bounded.upper) == (pytest.approx(0.375), pytest.approx(0.875))
    assert "bound" in words.shown_rate(bounded)
    d = difference(a, b)
    assert d.difference == pytest.approx(0.0)
    assert (d.conditions, d.left_out) == (1, ("y",))
    assert said(d) == ["no difference is shown"]
    (judged,) = claims([d])
    assert "over 1 of 2 conditions" in words.sentence(judged) and "y" in words.sentence(judged)


@pytest.mark.parametrize(("lost", "short"), [(1, ()), (2, ("x",))])
def test_nineteen_of_twenty_are_enough(lost: int, short: tuple[str, ...]) -> None:
    assert rate(counted("a", 10, 10 - lost, lost=lost)).short == short


def test_answers_without_a_choice_are_the_arms_own() -> None:
    result = rate(counted("a", 12, 4, unclear=4))
    assert (result.short, result.completed, result.clear) == ((), 640, 512)
    assert (result.rate, result.lower, result.upper) == tuple(map(pytest.approx, (0.75, 0.6, 0.8)))


def test_above_has_to_hold_at_both_bounds() -> None:
    b = counted("b", 10, 10)
    assert said(difference(counted("a", 15, 3, unclear=2), b)) == ["above"]
    hesitant = difference(counted("a", 9, 1, unclear=10), b)
    assert hesitant.difference == pytest.approx(0.4)
    (judged,) = claims([hesitant])
    assert judged.word == "above among clear answers"
    assert "above values" not in words.sentence(judged) and "among clear answers" in words.sentence(judged)
    assert said(difference(b, counted("a", 9, 1, unclear=10))) == ["below among clear answers"]


def test_arms_that_share_no_condition_cannot_be_compared() -> None:
    d = difference(counted("a", 5, 5), counted("b", 0, 0, lost=10))
    assert math.isnan(d.difference)
    assert "cannot be compared" in words.sentence(d)


def test_holm_equals_worked_values() -> None:
    # Holm 1979's step-down by hand: 3 x .01, 2 x .02, then the largest so far.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_a_word_is_given_after_the_whole_family_is_corrected_for() -> None:
    rng = np.random.default_rng(2)
    weak = difference(verdicts("a", cells(0.57), 60, rng), verdicts("b", cells(0.5), 60, rng))
    none = difference(verdicts("a", cells(0.5), 60, rng), verdicts("b", cells(0.5), 60, rng))
    assert weak.p is not None and 0.0001 < weak.p < 0.05
    assert said(weak) == ["above"]
    crowd = claims([weak, *[none] * 499])
    assert crowd[0].word == "no difference is shown"
    assert crowd[0].p_holm == pytest.approx(min(1.0, 500 * weak.p))


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_coverage_where_seeds_spread(seeds: int) -> None:
    """A small copy of benchmarks/statistics.py; the results page has the whole."""
    row = coverage(World("27 conditions x 20", 1.5, 0.03, seeds), 30, np.random.default_rng(4))
    assert len(row.at) == len(RATES)
    assert 91.5 < row.mean < 99


def test_false_words_are_few() -> None:
    family, single = false_words(World("8 domains x 80", 1.5, 0.03, 4), 3, np.random.default_rng(5))
    assert family.mean < 14
    assert single.mean < 9


def test_tables_show_arms_without_a_verdict_as_such() -> None:
    """report.json holds null there: a table must neither fail on it nor print a number."""
    lost = counted("g/x", 0, 0, lost=5)
    rates = (rate(lost), rate(lost, "x"))
    compared = difference(lost, counted("g/y", 3, 2))
    for table, shown in (
        (tables._rates("e", rates), "no verdict"),
        (tables._differences((compared,)), "cannot be compared"),
    ):
        assert shown in [cell for column in table.columns for cell in column.cells]
