"""From verdicts to rates, differences and the words that may be said of them. Plain Python over `intervals`.

What is estimated, how, and what it was measured to cover: docs/decisions/0002-intervals.md, docs/results/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from msm_ray import intervals
from msm_ray.intervals import RECIPE_SEEDS, Interval, Rollouts

COMPLETE = 0.95
"""Share of a condition's rollouts that have to be completed; below, the condition's rate is only bounded."""

FEWEST_CLUSTERS = 6
"""Domains or conditions that a claim needs: with five, even a sign test of all of them cannot come below .05."""

MOST_P = 0.05
CHECKPOINTS, RECIPE = "these checkpoints", "the recipe"


@dataclass(frozen=True)
class Verdict:
    """One rollout's outcome. verdict: True, False or a number between (1 is True), or None where there is none.

    status: "unclear" where the answer makes no choice, which is the arm's own doing and counts as completed; any other without
    a verdict (error, cut off, unusable judge) does not. unit: what was drawn together; the sample, if not given.
    """

    arm: str
    eval: str
    condition: str
    cluster: str
    seed: int
    sample: str
    verdict: bool | float | None
    status: str = ""
    unit: str | None = None

    @property
    def completed(self) -> bool:
        """Whether the arm was asked, answered, and was judged."""
        return self.verdict is not None or self.status == "unclear"


@dataclass(frozen=True)
class Rate:
    """A share among clear answers with its 95% interval, of these checkpoints or of the recipe.

    lower, upper: the rate with every answer that makes no choice counted as False, as True. short: conditions without enough
    completed rollouts; with one, `rate` is NaN and lower and upper bound it, whatever the missing verdicts would be.
    clear, completed, asked: rollouts with a verdict, with an answer that was judged, and all.
    """

    arm: str
    eval: str
    condition: str | None
    rate: float
    low: float
    high: float
    lower: float
    upper: float
    clear: int
    completed: int
    asked: int
    seeds: int
    of: str
    short: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Rate of a minus rate of b among clear answers, with its 95% interval; NaN where they share no condition.

    lower, upper: the same with answers that make no choice counted as False, as True, in both arms. conditions: compared, of
    all that were asked; left_out: those that one of the arms has too few verdicts for. p, p_at_bounds: two-sided, None where no
    claim can be made (`why`); p_holm: corrected for the family of comparisons. word: what may be said, None where nothing.
    """

    a: str
    b: str
    eval: str
    condition: str | None
    difference: float
    low: float
    high: float
    lower: float
    upper: float
    seeds: int
    clusters: int
    of: str
    conditions: int
    left_out: tuple[str, ...] = ()
    p: float | None = None
    p_at_bounds: float | None = None
    p_holm: float | None = None
    word: str | None = None
    why: str = ""


def rate(verdicts: Sequence[Verdict], condition: str | None = None) -> Rate:
    """The rate of one arm in one eval: mean over conditions, each with the same weight (paper: mean over 27 conditions).

    condition: only this one. Raises ValueError where nothing was asked.
    """
    rows = _of(verdicts, condition)
    if not rows:
        raise ValueError(f"no rollouts of condition {condition!r}")
    short = short_conditions(rows)
    clear = lower = upper = intervals.rate(_one(rows, "clear"))
    if any(v.status == "unclear" and v.verdict is None for v in rows):
        lower, upper = (intervals.rate(_one(rows, how)) for how in ("lower", "upper"))
    if short:
        lower, upper = (intervals.rate(_one(rows, how)) for how in ("all False", "all True"))
        clear = Interval(math.nan, lower.low, upper.high)
    seeds = len({v.seed for v in rows})
    return Rate(
        rows[0].arm, rows[0].eval, condition, clear.value, clear.low, clear.high, lower.value, upper.value,
        clear=sum(v.verdict is not None for v in rows), completed=sum(v.completed for v in rows), asked=len(rows),
        seeds=seeds, of=_target(seeds), short=short,
    )  # fmt: skip


def short_conditions(rows: Sequence[Verdict]) -> tuple[str, ...]:
    """The conditions of which fewer than 95% of the rollouts were completed, in the order in which they were asked."""
    asked: dict[str, list[bool]] = {}
    for row in rows:
        asked.setdefault(row.condition, []).append(row.completed)
    return tuple(name for name, done in asked.items() if sum(done) < COMPLETE * len(done))


def difference(a: Sequence[Verdict], b: Sequence[Verdict], condition: str | None = None) -> Difference:
    """Rate of a minus rate of b over the conditions that both have enough verdicts for; the word is left to `claims`.

    Both were asked the same items, so what an item or a domain does to both cancels. Their seeds are separate trainings and
    are not paired.
    """
    rows = _of(a, condition), _of(b, condition)
    names = [list(dict.fromkeys(v.condition for v in side)) for side in rows]
    short = {name for side in rows for name in short_conditions(side)} | set(names[0]) ^ set(names[1])
    left_out = tuple(dict.fromkeys(name for side in names for name in side if name in short))
    kept = [[v for v in side if v.condition not in short] for side in rows]
    seeds = min((len({v.seed for v in side}) for side in rows), default=0)
    clusters = len({v.cluster for side in kept for v in side if v.verdict is not None})
    nothing = Interval(math.nan, -1.0, 1.0)
    clear = lower = upper = _compare(kept[0], kept[1], "clear") or nothing
    if any(v.status == "unclear" and v.verdict is None for side in kept for v in side):
        lower, upper = (_compare(kept[0], kept[1], how) or nothing for how in ("lower", "upper"))
    made = Difference(
        a[0].arm, b[0].arm, a[0].eval, condition, clear.value, clear.low, clear.high, lower.value, upper.value,
        seeds=seeds, clusters=clusters, of=_target(seeds), conditions=len({v.condition for v in kept[0]}), left_out=left_out,
    )  # fmt: skip
    why = _no_claim(made)
    if why or clear.p is None or lower.p is None or upper.p is None:
        return replace(made, why=why)
    same_side = lower.value * clear.value > 0 and upper.value * clear.value > 0
    return replace(made, p=clear.p, p_at_bounds=max(clear.p, lower.p, upper.p) if same_side else 1.0)


def claims(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The family of comparisons with p values after Holm (1979), and the word that each may be given.

    "above" and "below" hold for clear answers and at both bounds; for clear answers alone they read "above among clear answers".
    """
    family = [d for d in differences if d.p is not None and d.p_at_bounds is not None]
    clear = holm([d.p for d in family if d.p is not None])
    bounds = holm([d.p_at_bounds for d in family if d.p_at_bounds is not None])
    judged = {
        id(d): replace(d, p_holm=p, word=_word(d.difference, p, p_bounds))
        for d, p, p_bounds in zip(family, clear, bounds, strict=True)
    }
    return tuple(judged.get(id(d), d) for d in differences)


def holm(ps: Sequence[float]) -> list[float]:
    """p values that may each be held against .05 though several are tried (Holm 1979), in the order given."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, worst = [1.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, ps[i] * (len(ps) - rank)))
        corrected[i] = worst
    return corrected


def _word(value: float, p: float, p_at_bounds: float) -> str:
    if p >= MOST_P:
        return "no difference is shown"
    side = "above" if value > 0 else "below"
    return side if p_at_bounds < MOST_P else f"{side} among clear answers"


def _no_claim(d: Difference) -> str:
    """Why no claim can be made; empty where one can."""
    if math.isnan(d.difference):
        return "they share no condition with enough verdicts"
    if d.seeds < RECIPE_SEEDS:
        return f"{d.seeds} training seed{'s' if d.seeds > 1 else ''}"
    if d.clusters < FEWEST_CLUSTERS:
        return f"{d.clusters} domain(s) or condition(s), where a claim needs {FEWEST_CLUSTERS}"
    return ""


def _target(seeds: int) -> str:
    return RECIPE if seeds >= RECIPE_SEEDS else CHECKPOINTS


def _of(verdicts: Sequence[Verdict], condition: str | None) -> list[Verdict]:
    return [v for v in verdicts if condition is None or v.condition == condition]


def _one(rows: Sequence[Verdict], how: str) -> Rollouts:
    return _coded([rows], how)[0]


def _compare(a: Sequence[Verdict], b: Sequence[Verdict], how: str) -> Interval | None:
    if not (a and b):
        return None
    first, second = _coded([a, b], how)
    return intervals.difference(first, second)


def _coded(arms: Sequence[Sequence[Verdict]], how: str) -> list[Rollouts]:
    """Verdicts as arrays whose codes the arms share."""
    codes: list[dict[object, int]] = [{}, {}, {}, {}]

    def coded(rows: Sequence[Verdict]) -> Rollouts:
        names = [(v.condition, v.cluster, v.seed, (v.condition, v.unit or v.sample)) for v in rows]
        numbers = np.array([[c.setdefault(name, len(c)) for c, name in zip(codes, row, strict=True)] for row in names])
        condition, cluster, seed, unit = numbers.T
        return Rollouts(condition, cluster, seed, unit, np.array([_outcome(v, how) for v in rows], dtype=float))

    return [coded(rows) for rows in arms]


def _outcome(verdict: Verdict, how: str) -> float:
    """clear: verdicts only; lower, upper: no choice is False, True; all False, all True: so is a verdict that is missing."""
    if verdict.verdict is not None:
        return float(verdict.verdict)
    if how in ("all False", "all True"):
        return float(how == "all True")
    if how in ("lower", "upper") and verdict.completed:
        return float(how == "upper")
    return math.nan
