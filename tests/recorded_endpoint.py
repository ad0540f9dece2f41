"""The shipped recordings, and an address that says what they say, and fails before that in ways that a row survives."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from endpoint_server import DROPPED, Reply, Request, answer_to, refusal

from msm_ray.generate.calls import request_id
from msm_ray.generate.document_settings import STOCK_NAMES

CALLS = ("domains", "subdomains", "assertions", "types", "ideas", "documents",
         "chat_domains", "questions", "responses", "filter")  # fmt: skip
ATTEMPTS, JUDGES = 3, 3
CUT_OFF = 6
"""One document in so many is cut off whenever it is asked for."""
AVOIDED = re.compile(r"(?<=which the collection has too often: ).*(?=\.)")
"""What a writer of documents is told to leave out: after an interruption also what came too often in those that are there."""


def recorded(specs: Sequence[str]) -> list[dict[str, Any]]:
    """The recordings about some specs, with some documents cut off. Judges of the same chat all say the same there."""
    names = [name for spec in specs for name in (spec, f"chats-{spec}-cot")]
    lines = [line for name in names for line in Path(f"specs/recorded/{name}.jsonl").read_text("utf-8").split("\n")]
    rows = [json.loads(line) for line in lines if line]
    return [cut_off(row) if row["call"] == "documents" and of(row["id"], CUT_OFF) == 0 else row for row in rows]


def cut_off(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"completion": row["completion"][:200], "finish_reason": "length"}


def of(text: str, many: int) -> int:
    """A number below `many`, always the same for a text."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % many


@dataclass
class Writer:
    """What the address says: of each question the recorded answer, and before that, of some, a failure or an answer of no use.

    hangs: seconds in which the first request with some questions gets nothing, longer than is waited for it; 0: it does not hang.

    Noted are requests by call, how often the recorded answer was given to each question (by its id), how often it is needed, and
    what no recording answers.
    """

    rows: Sequence[dict[str, Any]]
    hangs: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    needed: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_id = {row["id"]: row for row in self.rows}

    def __call__(self, request: Request) -> Reply:
        ids = self._ids(request.body["messages"])
        if not ids:
            self.unknown.append(request.question[-300:])
            return refusal(400, "nobody ever answered this")
        row, drawn = self.by_id[ids[0]], of(request.question, 12)
        self.asked[row["call"]] += 1
        if request.number == 1 and drawn in FAILURES:
            return FAILURES[drawn]
        if request.number == 1 and drawn == NO_USE:
            return Reply(200, answer_to(request.body, ""))
        if request.number == 1 and drawn == HANGS and self.hangs and row["call"] in HANGING:
            time.sleep(self.hangs)
            return DROPPED
        self.given[ids[0]] += 1
        self.needed[ids[0]] = len(ids) * (ATTEMPTS if "finish_reason" in row else 1)
        body = answer_to(request.body, row["completion"])
        body["choices"][0]["finish_reason"] = row.get("finish_reason", "stop")
        return Reply(200, body)

    def _ids(self, messages: list[dict[str, str]]) -> list[str]:
        """The recorded answers to a question: one, or those of several judges of the same chat."""
        said = [each | {"content": AVOIDED.sub(", ".join(STOCK_NAMES), each["content"])} for each in messages]
        ids = (request_id(call, said, sample) for call in CALLS for sample in range(JUDGES))
        return [key for key in ids if key in self.by_id]

    @property
    def given_in_vain(self) -> int:
        """Answers that were given once more to questions that had got all the answers that they need."""
        return sum(max(0, many - self.needed[key]) for key, many in self.given.items())


FAILURES = {
    0: refusal(503, "overloaded"),
    1: refusal(429, "later", {"retry-after-ms": "100"}),
    2: Reply(500, {"error": {"message": "an inner error"}}),
    3: DROPPED,
}
"""How the first request with a question ends, by the question: of twelve, eight are answered at once."""
NO_USE, HANGS = 4, 5
HANGING = ("ideas", "documents", "filter")
"""Calls of which some requests hang."""
