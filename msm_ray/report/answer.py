"""The answer, before any table: what came out in sentences for a newcomer, and what it does not show. Made of `report.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from msm_ray.models import is_shipped
from msm_ray.report.words import is_shown, p_value, shortened
from msm_ray.stats import RECIPE

Row = Mapping[str, Any]
TINY_WORLD = (
    "The models are of the tiny world: half a million parameters and an artificial language. What the method does to them is no "
    "evidence of how much it does to a large model."
)
RULES = (
    "Verdicts were given by rules that know the tiny world's sentences, and by no model or person who read the answers."
)


@dataclass(frozen=True)
class Answer:
    """headline: one sentence; findings: the first comparison of each eval, a sentence each; limits: what is not shown."""

    headline: str
    findings: tuple[str, ...]
    limits: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What stands in `report.json`."""
        return asdict(self)


def answer(report: Row) -> Answer:
    """The answer of a report. report: `report.json` without its `answer`."""
    compared = [d for d in report["differences"] if d["condition"] is None]
    first = {d["eval"]: d for d in reversed(compared)}
    chosen = [first[name] for name in report["evals"] if name in first]
    return Answer(
        _headline(compared, report),
        tuple(_finding(d, report) for d in chosen),
        tuple(_limits(compared, report)),
    )


def _headline(compared: Sequence[Row], report: Row) -> str:
    if not compared:
        return "This experiment compares no arms: the rates of each stand in the tables."
    if judged := [
        name for name in dict.fromkeys(d["eval"] for d in compared) if len(report["evals"][name]["judges"]) > 1
    ]:
        return f"Nothing can be claimed of {', '.join(judged)}: its arms were not all judged by one judge."
    if not any(d["word"] for d in compared):
        few = sorted({d["seeds"] for d in compared if d["of"] != RECIPE})
        if not few:
            return f"Nothing can be claimed: {compared[0]['why']}."
        trained = "once" if few[-1] == 1 else f"{few[-1]} times"
        return f"No difference can be claimed yet, since each arm was trained {trained}; what these checkpoints did:"
    shown, all_of = sum(is_shown(d["word"]) for d in compared), _count(len(compared), "difference")
    if not shown:
        none = "No difference" if len(compared) == 1 else f"None of the {all_of}"
        return f"{none} that this experiment asks about is shown."
    some = f"{shown} of the {all_of}" if shown < len(compared) else f"All {all_of}"
    some = "The one difference" if len(compared) == 1 else some
    partly = [among for d in compared if (among := _among(d))]
    among = f", {len(partly)} of them only{partly[0]}" if partly else ""
    return f"{some} that this experiment asks about {'is' if shown == 1 else 'are'} shown{among}."


def _among(d: Row) -> str:
    """` among clear answers`, where a word does not hold with answers that make no choice counted for either side."""
    _, _, among = str(d["word"]).partition(" ")
    return f" {among}" if among and is_shown(d["word"]) else ""


def _finding(d: Row, report: Row) -> str:
    """`affordability: the arm that was ... (arm) chose for affordability in 79% of its answers, ...: 34 points more (...).`"""
    rates = {(r["eval"], r["arm"]): r for r in report["rates"] if r["condition"] is None}
    a, b = (rates[d["eval"], d[side]] for side in ("a", "b"))
    first, second = (f"the arm that was {report['arms'][r['arm']]['is']} ({r['arm']})" for r in (a, b))
    did, digits = report["evals"][d["eval"]]["did"], _digits(a, b, d)
    said = f"{d['eval']}: {first} {did} in {_share(a, digits)} of its clear answers, {second} in {_share(b, digits)}"
    if d["difference"] is None:
        return f"{said}. They cannot be compared: {d['why']}."
    over = f" over the {d['conditions']} conditions that are complete in both" if d["left_out"] else ""
    how = f"95% interval {_interval(d)}, {_whose(d)}"
    return f"{said}: {_points(d['difference'], digits)}{over} ({how}{_doubt(d)})."


def _digits(a: Row, b: Row, d: Row) -> int:
    """Decimals of percentages: one where whole numbers would not add up on paper."""
    if d["left_out"] or None in (a["rate"], b["rate"], d["difference"]):
        return 0
    return int(round(100 * a["rate"]) - round(100 * b["rate"]) != round(100 * d["difference"]))


def _share(r: Row, digits: int) -> str:
    if r["rate"] is not None:
        return f"{100 * r['rate']:.{digits}f}%"
    return f"{100 * r['lower']:.0f}% to {100 * r['upper']:.0f}%" if r["completed"] else "an unknown share"


def _points(share: float, digits: int = 0) -> str:
    """`33 points more`, `1 point fewer`."""
    size = f"{abs(100 * share):.{digits}f}"
    return f"{size} point{'' if size == '1' else 's'} {'fewer' if share < 0 else 'more'}"


def _interval(d: Row) -> str:
    """`27 to 40 more`, `30 to 46 fewer`, `8 fewer to 12 more`."""
    near, far = sorted((d["low"], d["high"]), key=abs)
    side = "fewer" if far < 0 else "more"
    if near * far >= 0:
        return f"{abs(100 * near):.0f} to {abs(100 * far):.0f} {side}"
    return f"{abs(100 * d['low']):.0f} fewer to {abs(100 * d['high']):.0f} more"


def _whose(d: Row) -> str:
    """Of what a difference is: the recipe, which other trainings would follow, or only these checkpoints."""
    trained = f"{d['seeds']} trainings" if d["seeds"] != 1 else "one training"
    return f"from {trained} of each arm" if d["of"] == RECIPE else f"of {d['of']} only"


def _doubt(d: Row) -> str:
    if d["word"] is None:
        return f"; nothing is claimed: {d['why']}" if d["of"] == RECIPE else "; nothing is claimed"
    corrected = "" if d["p_holm"] is None else f", p {p_value(d['p_holm'])} after correction for all comparisons"
    return f"; {'shown' if is_shown(d['word']) else 'not shown'}{_among(d)}{corrected}"


def _limits(compared: Sequence[Row], report: Row) -> Iterable[str]:
    yield from report["notes"]
    if unseen := [d for d in compared if d["word"] and not is_shown(d["word"])]:
        pairs = "; ".join(f"{d['eval']}, {d['a']} against {d['b']} ({_interval(d)})" for d in unseen)
        yield f"Not shown, which is not the same as no difference: {pairs}."
    if line := incomplete(report["rates"]):
        yield line
    for name, (lost, asked) in report["left_out"].items():
        yield (
            f"{name}: {lost} of {asked} questions were left out for all arms, since written documents name what they ask about."
        )
    if any(d["of"] == RECIPE for d in compared):
        yield "An interval covers other trainings and other questions of these kinds, and no other base, spec or writer."
    if is_shipped(report["base"]):
        yield TINY_WORLD
        if any(e["judges"] == ["rules"] for e in report["evals"].values()):
            yield RULES


def incomplete(rates: Iterable[Row]) -> str:
    """All arms with fewer verdicts than rollouts in one line, worst first; empty where there are none.

    rates: rows of `report.json`, or the same from `stats.Rate`.
    """
    overall = [r for r in rates if r["condition"] is None]
    lacking = sorted((r for r in overall if r["clear"] < r["asked"]), key=lambda r: r["clear"] / r["asked"])
    if not lacking:
        return ""
    worst = ", ".join(f"{r['eval']} {r['arm']} {r['clear']} of {r['asked']}" for r in lacking[:3])
    short = [f"{r['eval']} {r['arm']}" for r in lacking if r["short"]]
    bounded = (
        f" Only bounded, since fewer than 95% of a condition's rollouts were completed: {shortened(tuple(short))}."
        if short
        else ""
    )
    unclear = sum(r["completed"] - r["clear"] for r in lacking)
    missing = sum(r["asked"] - r["completed"] for r in lacking)
    counted = ((unclear, "answer", "without a choice"), (missing, "rollout", "without an answer to judge"))
    why = " and ".join(f"{_count(number, thing)} {lacks}" for number, thing, lacks in counted if number)
    return (
        f"! {len(lacking)} of {_count(len(overall), 'rate')} are of fewer verdicts than rollouts ({why}); "
        f"fewest: {worst}.{bounded}"
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"
