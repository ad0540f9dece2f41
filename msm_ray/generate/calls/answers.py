"""What a writer answered to the calls of one stage: every raw answer is kept, usable or not, and read anew at the next start.

So a killed run goes on without paying twice, and a better reader finds what an earlier one rejected. `answers/*.parquet` can be
replayed as it lies (`engine: replay`): its ids are those of the requests.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msm_ray.generate.calls import Asked
from msm_ray.generate.parsing import ended
from msm_ray.generate.refusals import is_refusal
from msm_ray.generate.shards import GrowingTable
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.by_place import Files, Made
from msm_ray.rows.schemas import ANSWER_SCHEMA, Row
from msm_ray.rows.tables import clean, read_tables

FOLDER = "answers"
ENGINE_FAILED = "engine: "
TOLD = ("call", "reason", "num_input_tokens", "num_generated_tokens")
"""What is counted of an answer."""
MOST_ROWS = 10**6
"""Of a file, so that file and row are one number."""
THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)


class Answers:
    """The answers below a stage's folder. by_request: id -> its answers, in the order in which they came.

    They lie on disk and are read there when they are looked at, without their prompts; what is held of each is its place.
    """

    def __init__(self, out: Path):
        clean(out)
        self.out = out
        self._table = GrowingTable(out / FOLDER, ANSWER_SCHEMA)
        self.by_request = ByRequest(self._table)
        self._tally = Tally()
        self._looked_at: tuple[str, Decisive] = ("", NOTHING)
        files = sorted(path.name for path in (out / FOLDER).glob("*.parquet"))
        for file, table in zip(files, read_tables(out / FOLDER, ["id", *TOLD]), strict=True):
            for number, row in enumerate(table.to_pylist()):
                self.by_request.note(row["id"], file, number)
                self._tally.count(row)

    @property
    def answered(self) -> int:
        """Answers that came from a model, of any use or not."""
        return self._tally.answers - self._tally.refused

    @property
    def usable(self) -> int:
        """Answers that could be used when they came."""
        return self._tally.answers - self._tally.rejected.total()

    def add(self, asked: Asked, row: Row) -> None:
        """Keep one answer. row: as the engine gave it, with `reason` (empty: usable), who gave it and how it was sampled."""
        kept = {name: row.get(name) for name in ANSWER_SCHEMA.names} | {
            "call": asked.call.name,
            "about": asked.about,
            "raw": row["completion"],
            "prompt": json.dumps(asked.messages, ensure_ascii=False),
            "prompt_version": asked.call.prompt.version,
        }
        self._table.add(kept)
        self._looked_at = ("", NOTHING)
        self.by_request.note(row["id"], self._table.file, len(self._table.waiting) - 1)
        self._tally.count(kept)
        self.tick()

    def decisive(self, asked: Asked) -> Decisive:
        """What came of a request, read anew. The last is kept: who wants its value wants its answer next."""
        if self._looked_at[0] != asked.id:
            self._looked_at = (asked.id, decisive(asked, self.by_request.get(asked.id, ())))
        return self._looked_at[1]

    def tick(self) -> None:
        """Write what is due."""
        if self._table.due():
            self._table.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._table.flush()

    def counts(self) -> dict[str, int | str]:
        """Answers, those that could not be used by call and reason, and tokens read and written."""
        tally = self._tally
        return {
            "answers": tally.answers,
            "answers_rejected": tally.rejected.total(),
            "tokens_read": tally.read,
            "tokens_written": tally.written,
            **dict(sorted(tally.rejected.items())),
        }


class ByRequest(Mapping[str, Sequence[Row]]):
    """Request -> its answers, each read when it is looked at: in its file, or where it waits for one."""

    def __init__(self, table: GrowingTable):
        self._table = table
        self._read = Files(table.folder, [name for name in ANSWER_SCHEMA.names if name != "prompt"])
        self._files: list[str] = []
        self._places: dict[str, tuple[int, ...]] = {}

    def note(self, key: str, file: str, number: int) -> None:
        """Have an answer's place."""
        if not self._files or self._files[-1] != file:
            self._files.append(file)
        self._places[key] = (*self._places.get(key, ()), (len(self._files) - 1) * MOST_ROWS + number)

    def __getitem__(self, key: str) -> Sequence[Row]:
        places = self._places[key]
        return Made(len(places), lambda one: self._row(*divmod(places[one], MOST_ROWS)))

    def _row(self, file: int, number: int) -> Row:
        if self._files[file] == self._table.file:
            return self._table.waiting[number]
        return self._read.row(self._files[file], number)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@dataclass
class Tally:
    """Answers as they are counted. rejected: by call and reason; refused: by the engine itself, which are rejected too."""

    answers: int = 0
    refused: int = 0
    read: int = 0
    written: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def count(self, row: Row) -> None:
        """Take one more into account."""
        self.answers += 1
        self.read += row["num_input_tokens"] or 0
        self.written += row["num_generated_tokens"] or 0
        if row["reason"]:
            self.refused += row["reason"].startswith(ENGINE_FAILED)
            self.rejected[f"rejected: {row['call']}: {_short(row['reason'])}"] += 1


@dataclass(frozen=True)
class Decisive:
    """What came of a request. answer: the first that can be used, else the last (None: there is none); reason: why it can't be.

    value: what it says; tries: answers up to it that a model gave.
    """

    answer: Row | None
    value: Any
    reason: str
    tries: int


NOTHING = Decisive(None, None, "empty", 0)


def decisive(asked: Asked, answers: Iterable[Row]) -> Decisive:
    """The answer to a request that counts. What an engine refused is no try: it may have been mended since."""
    found = NOTHING
    for answer in answers:
        if (answer["reason"] or "").startswith(ENGINE_FAILED):
            found = Decisive(answer, None, answer["reason"], found.tries)
            continue
        found = Decisive(answer, *read_answer(asked, answer), found.tries + 1)
        if not found.reason:
            break
    return found


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
    return "engine" if reason.startswith(ENGINE_FAILED) else reason.partition(":")[0]
