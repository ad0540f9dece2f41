"""A writer whose answers are written by functions, and that is read, asked again and held as a real one is."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from msm_ray.generate.calls import Asked, Conversation
from msm_ray.generate.calls.answers import read_answer

ATTEMPTS = 3
Says = Callable[[Asked, int], Any]
"""(what is asked, which try, from 0) -> the raw answer, or (raw answer, finish reason)."""


class Scripted:
    """says: by call. asked: every request in order, once; tries: how many answers each call gave."""

    def __init__(self, says: Mapping[str, Says]):
        self.says, self.asked, self.tries = says, [], Counter[str]()
        self.raw: dict[str, list[dict[str, Any]]] = {}

    def value(self, asked: Asked) -> Any:
        self.asked.append(asked)
        for attempt in range(ATTEMPTS):
            said = self.says[asked.call.name](asked, attempt)
            raw, finish = said if isinstance(said, tuple) else (said, "stop")
            self.tries[asked.call.name] += 1
            value, reason = read_answer(asked, {"raw": raw, "finish_reason": finish})
            self.raw.setdefault(asked.id, []).append({"raw": raw, "reason": reason})
            if not reason:
                return value
        return None

    def hold(self, conversation: Conversation[Any], most_steps: int = 400) -> Any:
        values: Sequence[Any] | None = None
        for _ in range(most_steps):
            try:
                asked = next(conversation) if values is None else conversation.send(values)
            except StopIteration as end:
                return end.value
            assert len({each.id for each in asked}) == len(asked) and asked
            values = [self.value(each) for each in asked]
        raise AssertionError(f"still asking after {most_steps} steps: {Counter(each.call.name for each in self.asked)}")

    def of(self, call: str) -> list[Asked]:
        return [each for each in self.asked if each.call.name == call]


def by_words(texts: Sequence[str]) -> np.ndarray:
    """An embedder for tests: texts with the same words point the same way."""
    vectors = np.zeros((len(texts), 512))
    for row, text in enumerate(texts):
        for word in set(re.findall(r"\w+", text.lower())):
            vectors[row, int(hashlib.sha256(word.encode()).hexdigest(), 16) % 512] += 1
    return vectors


def number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def items(*rows: Mapping[str, Any]) -> str:
    return json.dumps({"items": list(rows)})
