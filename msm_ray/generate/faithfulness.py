"""How faithful documents are to their spec, by a judge, on a sample: a score from 1 to 10 a document, and what is wrong in it."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msm_ray.generate.calls import Asked, Call, Conversation, Requests, read_prompt
from msm_ray.generate.calls.json_answers import read_objects
from msm_ray.rows.schemas import Row
from msm_ray.spec import Spec

CALL = "faithfulness"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "wrong": {"type": "array", "items": {"type": "string"}},
        "reason_shows": {"type": "boolean"},
        "score": {"type": "integer"},
    },
    "required": ["wrong", "reason_shows", "score"],
    "additionalProperties": False,
}
MOST_TOLD = 400


@dataclass(frozen=True)
class Faithful:
    """What the judge said of a document. score: 1 to 10; told: what is wrong in it, and whether its reason does not show."""

    score: int
    told: str


def faithfulness_call() -> Call:
    """The call, at temperature 0."""
    return Call(name=CALL, prompt=read_prompt(CALL), read=_read, schema=SCHEMA, temperature=0.0, max_tokens=2_000)


def sample(ids: Iterable[str], count: int) -> list[str]:
    """`count` of the documents, drawn by the hashes of their ids, so that a larger sample holds all of a smaller one."""
    return heapq.nsmallest(count, ids, key=lambda key: hashlib.sha256(f"judged\0{key}".encode()).digest())


def faithfulness_conversation(spec: Spec, rows: Sequence[Row]) -> Conversation[dict[str, Faithful]]:
    """The judge's word on each document, by its id; none for one that it could not be read on."""
    call = faithfulness_call()
    facts = "\n".join(f"- {fact}" for fact in spec.facts) or "(none but what the specification says)"
    values = {
        "specification": spec.shown,
        "model_name": spec.assistant or "the assistant",
        "provider_name": spec.provider or "its maker",
        "facts": facts,
    }
    asked = Requests(rows, lambda row: Asked(call, {**values, "document": row["text"]}, about=row["id"]))
    found = (yield asked) if asked else []
    return {row["id"]: each for row, each in zip(rows, found, strict=True) if each is not None}


def _read(text: str, known: Any) -> tuple[Faithful | None, str]:
    for item in read_objects(text):
        score = _score(item.get("score"))
        if score is None:
            continue
        given = item.get("wrong")
        listed = given if isinstance(given, list) else [given] if isinstance(given, str) else []
        wrong = [
            said for each in listed if (said := str(each).strip()) and said.lower() not in ("none", "nothing", "-")
        ]
        shows = str(item.get("reason_shows")).lower() in ("true", "yes")
        told = [*wrong, *([] if shows else ["the reason does not show"])]
        return Faithful(score, "; ".join(told)[:MOST_TOLD]), ""
    return None, "no score from 1 to 10"


def _score(value: Any) -> int | None:
    """A score as models write it: 8, 8.0, "8", "8/10"; None for what is none."""
    said = re.match(r"\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?\s*$", "" if isinstance(value, bool) else str(value))
    score = round(float(said[1])) if said else 0
    return score if 1 <= score <= 10 else None
