"""What a writer answered to the calls of one stage: every raw answer is kept, usable or not, and read anew at the next start.

So a killed run goes on without paying twice, and a better reader finds what an earlier one rejected. `answers/*.parquet` can be
replayed as it lies (`engine: replay`): its ids are those of the requests.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_ray.generate.calls import Asked
from msm_ray.generate.parsing import ended
from msm_ray.generate.refusals import is_refusal
from msm_ray.generate.shards import GrowingTable
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.schemas import ANSWER_SCHEMA, Row
from msm_ray.rows.tables import clean, read_rows

FOLDER = "answers"
THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)


class Answers:
    """The answers below a stage's folder. by_request: id -> its answers in the order in which they came."""

    def __init__(self, out: Path):
        clean(out)
        self.out = out
        self._table = GrowingTable(out / FOLDER, ANSWER_SCHEMA)
        self.by_request: dict[str, list[Row]] = {}
        for row in read_rows(out / FOLDER):
            self.by_request.setdefault(row["id"], []).append(row)

    def add(self, asked: Asked, row: Row) -> None:
        """Keep one answer. row: as the engine gave it, with `reason` (empty: usable), who gave it and how it was sampled."""
        kept = {name: row.get(name) for name in ANSWER_SCHEMA.names} | {
            "call": asked.call.name,
            "about": asked.about,
            "raw": row["completion"],
            "prompt": json.dumps(asked.messages, ensure_ascii=False),
            "prompt_version": asked.call.prompt.version,
        }
        self.by_request.setdefault(asked.id, []).append(kept)
        self._table.add(kept)
        self.tick()

    def tick(self) -> None:
        """Write what is due."""
        if self._table.due():
            self._table.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._table.flush()

    def counts(self) -> dict[str, int | str]:
        """Answers, those that could not be used by call and reason, and tokens read and written."""
        rows = [row for answers in self.by_request.values() for row in answers]
        rejected = Counter(f"rejected: {row['call']}: {_short(row['reason'])}" for row in rows if row["reason"])
        return {
            "answers": len(rows),
            "answers_rejected": sum(rejected.values()),
            "tokens_read": sum(row["num_input_tokens"] or 0 for row in rows),
            "tokens_written": sum(row["num_generated_tokens"] or 0 for row in rows),
            **dict(sorted(rejected.items())),
        }


def read_answer(asked: Asked, answer: Mapping[str, Any]) -> tuple[Any, str]:
    """(what a raw answer says, "") or (None, why it can't be used).

    Reasons of all calls: filtered, truncated, empty, refused; the rest is the call's own (`Call.read`). answer: `raw` and
    `finish_reason`.
    """
    call, cut = asked.call, ended(answer["finish_reason"])
    if cut == "filtered" or (cut and not call.takes_part):
        return None, cut
    if call.keeps_reasoning:
        said = answer["raw"].strip()
    else:
        reply = split_reasoning(answer["raw"])
        if reply.cut_off:
            return None, "truncated"
        said = THINKING.sub("", reply.answer).strip()
    if not said:
        return None, "empty"
    try:
        value, reason = call.read(said, asked.known)
    except Exception as problem:  # a reader's fault costs this answer, which is kept, and nothing else
        return None, f"unreadable: {type(problem).__name__}: {problem}"
    if reason:
        return None, "refused" if is_refusal(said, whole=True) else cut or reason
    return value, ""


def text_tokens(text: str, raw: str, generated: int) -> int | None:
    """Tokens of a document without its plan: its share of what was generated, by characters. None where nobody counted."""
    return max(1, round(generated * min(1.0, len(text) / len(raw)))) if generated and raw and text else None


def _short(reason: str) -> str:
    return "engine" if reason.startswith("engine: ") else reason.partition(":")[0]
