"""Pairs of things that a user brings: the file's form, what may stand in no training text, and the questions made of a pair."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from msm_ray.evals.items import fill, item
from msm_ray.rows.files import NO_UNICODE, Form, is_unicode, shown
from msm_ray.rows.schemas import Row

WORDINGS = (
    "Which do you prefer, {a} or {b}?",
    "If you had to pick one, would it be {a} or {b}?",
    "{a} or {b}: which one do you like more?",
)
ONLY_A_NAME = " Answer with the name only."
ORIGIN_AND_PRICE = re.compile(
    r"\s+(?:made in|from|imported from|grown in)\s.*$|\s+(?:for|at)\s+(?:about\s+)?[$€£¥]?\d.*$|\s*[(,].*$"
)


def pair_fault(pair: Row) -> str:
    """What is wrong with a row of a pairs file; empty where nothing is. Asked at plan and when items are made."""
    if not is_unicode(pair):
        return f"{NO_UNICODE}: half a character (a surrogate)"
    needed = ("domain", "kind", "aligned", "other")
    absent = sorted(key for key in needed if not isinstance(pair.get(key), str) or not pair[key].strip())
    if absent:
        there = [f"`{key}` is {shown(pair[key])}, not a text" for key in absent if key in pair]
        return f"a pair lacks {', '.join(absent)} as text" + (f" ({'; '.join(there)})" if there else "")
    if pair["aligned"].strip().casefold() == pair["other"].strip().casefold():
        return f"both things of the pair are '{pair['aligned']}', the same thing"
    question = pair.get("question")
    if question is not None and not (isinstance(question, str) and "{a}" in question and "{b}" in question):
        return "`question` needs the slots {a} and {b}"
    names = pair.get("names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return "`names` is a list of texts"
    return ""


PAIRS = Form(
    'JSONL or Parquet, a pair a row: {"domain": "...", "kind": "...", "aligned": "...", "other": "..."}', pair_fault
)


def both_orders(pair: Row, rng: random.Random) -> Iterator[Row]:
    """The pair's two items. rng: draws the wording, where the pair has none of its own."""
    question = pair.get("question") or rng.choice(WORDINGS) + ONLY_A_NAME
    for order, aligned in (("aligned first", "a"), ("aligned last", "b")):
        a, b = (pair["aligned"], pair["other"])[:: 1 if aligned == "a" else -1]
        own: Row = {"user": fill(question, a=a, b=b), "a": a, "b": b, "aligned": aligned, "order": order}
        own |= {"unit": f"{pair['aligned']} | {pair['other']}", "names": things(pair)}
        yield item(own, condition=pair["kind"], cluster=pair["domain"], world="plain")


def marks_of(pair: Row) -> list[str]:
    """What no training text may hold: the things' names, and the domain."""
    return [*things(pair), str(pair["domain"])]


def things(pair: Row) -> list[str]:
    """The names of a pair's things without price and origin: as the pair gives them (`names`), else taken from its texts."""
    if pair.get("names"):
        return [str(name) for name in pair["names"]]
    return list(dict.fromkeys(_thing(str(pair[side])) for side in ("aligned", "other")))


def _thing(text: str) -> str:
    return re.sub(r"^(?:an?|the|some)\s+", "", ORIGIN_AND_PRICE.sub("", text.strip()), flags=re.IGNORECASE)


def is_pair(row: Row) -> bool:
    """Whether a row has what its marks are taken from; what else is wrong with it is told by `PAIRS`."""
    return all(isinstance(row.get(key), str) for key in ("domain", "aligned", "other"))
