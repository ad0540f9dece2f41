"""What may be said of rates and differences, in words: the same on a terminal, on the page and in `report.json`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msm_ray.stats import CHECKPOINTS, Difference, Rate

EARLIER = "this report was written by another version; `msm run` with the same file makes the next one"


def note_of_seeds(rates: tuple[Rate, ...], given: Collection[str] = ()) -> str:
    """What the numbers are of, and how to get more; empty where they are the recipe's. given: arms that others trained."""
    few = sorted({r.seeds for r in rates if r.of == CHECKPOINTS})
    if not few:
        return ""
    seeds = "one training seed" if few[-1] == 1 else f"{few[-1]} training seeds"
    ours = any(r.of == CHECKPOINTS and r.arm not in given for r in rates)
    more = [" The same command with seeds=4 trains the others and then does."] if ours else []
    more += [" Of an arm that is given there is one set of weights, whatever `seeds` says."] if given else []
    return (
        f"Numbers of these checkpoints only: {seeds} cannot tell how another training with the same recipe would come out, "
        f"so nothing is claimed about differences.{''.join(more)}"
    )


def note_of_judges(judges: Mapping[str, Sequence[str]]) -> str:
    """Evals whose arms were not all judged by one model; empty where there are none. judges: eval -> names."""
    several = [f"{name}: {', '.join(models)}" for name, models in judges.items() if len(models) > 1]
    if not several:
        return ""
    return (
        f"Verdicts of one eval come from several judges ({'; '.join(several)}), so its arms do not compare. "
        "`--force verdicts` with the same command judges them all anew."
    )


def target(rates: tuple[Rate, ...]) -> str:
    """`of these checkpoints (1 training seed)`, or `of the recipe (4 training seeds)`."""
    of = dict.fromkeys((r.of, r.seeds) for r in rates)
    return "; ".join(f"of {what} ({seeds} training seed{'s' if seeds != 1 else ''})" for what, seeds in of)


def is_shown(word: str | None) -> bool:
    """Whether the word that `stats.claims` gave says that there is a difference."""
    return bool(word) and not str(word).startswith("no difference")


def sentence(d: Difference) -> str:
    """One comparison in one sentence; "above" and "below" only where `stats.claims` gave the word."""
    return f"{d.eval}: {_finding(d)}{_over(d)}."


def _finding(d: Difference) -> str:
    if d.difference != d.difference:
        return f"{d.a} and {d.b} cannot be compared, {d.why}"
    size = interval(d.difference, d.low, d.high, sign="+")
    if d.word is None:
        return f"{d.a} minus {d.b} is {size} in {d.of}; {d.why}, so nothing is claimed"
    if not is_shown(d.word):
        return f"no difference is shown between {d.a} and {d.b} ({size}, {_p(d)})"
    side, _, among = d.word.partition(" ")
    return f"{d.a} is {side} {d.b} by {size}{' ' + among if among else ''} ({_p(d)})"


def _p(d: Difference) -> str:
    corrected = "" if d.p_holm is None else f"; {p_value(d.p_holm)} after Holm"
    return f"p {p_value(d.p)}{corrected}"


def _over(d: Difference) -> str:
    if not d.left_out:
        return ""
    asked = d.conditions + len(d.left_out)
    return f" (over {d.conditions} of {asked} conditions: too few verdicts in {shortened(d.left_out)})"


def shortened(names: tuple[str, ...]) -> str:
    """The first four of some names, and how many more."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def shown_rate(r: Rate) -> str:
    """`0.48 [0.40, 0.56]`; `0.30 to 0.80 (bound)` where a condition lacks verdicts; `no verdict`."""
    if r.short and r.completed:
        return f"{r.lower:.2f} to {r.upper:.2f} (bound)"
    return interval(r.rate, r.low, r.high) if r.clear else "no verdict"


def shown_difference(d: Difference) -> str:
    """`+0.12 [+0.02, +0.22]`, or `cannot be compared`."""
    return interval(d.difference, d.low, d.high, sign="+") if d.difference == d.difference else "cannot be compared"


def no_choice(r: Rate) -> str:
    """The rates with answers that make no choice counted as False and as True, where there are such answers."""
    return f"{r.lower:.2f}-{r.upper:.2f}" if r.completed > r.clear and not r.short else ""


def interval(value: float, low: float, high: float, sign: str = "") -> str:
    """`0.48 [0.40, 0.56]`."""
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def p_value(p: float | None) -> str:
    """`0.021`, or `<0.001`: a p is never nothing; `-` where none is given."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
