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
from msm_ray.generate.shards import GrowingTable, recover
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.by_place import Files, Made
from msm_ray.rows.ids import packed, unpacked
from msm_ray.rows.schemas import ANSWER_SCHEMA, Row
from msm_ray.rows.tables import clean, read_table

FOLDER = "answers"
ENGINE_FAILED = "engine: "
TOLD = ("call", "reason", "num_input_tokens", "num_generated_tokens")
"""What is counted of an answer."""
READ = tuple(name for name in ANSWER_SCHEMA.names if name != "prompt")
MOST_ROWS = 10**6
"""Of a file, so that file and row are one number."""
THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)


class AnswerFiles:
    """Where answers go, one by one. how: of the files (`GrowingTable`)."""

    def __init__(self, out: Path, *how: Any):
        self.out = out
        self._table = GrowingTable(out / FOLDER, ANSWER_SCHEMA, *how)
        self._tally = Tally()

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
        self._note(kept)
        self._tally.count(kept)
        self.tick()

    def _note(self, row: Row) -> None:
        """Where an answer is, before its file is written."""

    def tick(self) -> None:
        """Write what is due."""
        if self._table.due():
            self._table.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._table.flush()


class Answers(AnswerFiles):
    """The answers below a stage's folder. by_request: id -> its answers, in the order in which they came.

    They lie on disk and are read there when they are looked at, without their prompts; what is held of each is its place.
    """

    def __init__(self, out: Path):
        clean(out)
        super().__init__(out)
        self.by_request = ByRequest(Files(self._table.folder, READ), self._table)
        self._looked_at: tuple[str, Decisive] = ("", NOTHING)
        self.take_up()

    def take_up(self) -> None:
        """Have the places of answers that others have written, and of those that were there before."""
        for file in sorted(path.name for path in self._table.folder.glob("*.parquet")):
            if not self.by_request.has(file):
                self._take_up(file)
        self._looked_at = ("", NOTHING)

    def _take_up(self, file: str) -> None:
        table = read_table(self._table.folder / file, ["id", *TOLD])
        for number, row in enumerate(table.to_pylist()):
            self.by_request.note(row["id"], file, number)
            self._tally.count(row)

    def recover(self) -> None:
        """Have what killed writers left in journals be in files. None is at work."""
        recover(self._table.folder, ANSWER_SCHEMA)

    def _note(self, row: Row) -> None:
        self._looked_at = ("", NOTHING)
        self.by_request.note(row["id"], self._table.file, len(self._table.waiting) - 1)

    def decisive(self, asked: Asked) -> Decisive:
        """What came of a request, read anew. The last is kept: who wants its value wants its answer next."""
        if self._looked_at[0] != asked.id:
            self._looked_at = (asked.id, self.by_request.decisive(asked))
        return self._looked_at[1]

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
    """Request -> its answers, each read when it is looked at: in its file, or where it waits for one (`table`)."""

    def __init__(self, read: Files, table: GrowingTable | None = None):
        self._read, self._table = read, table
        self._files: dict[str, int] = {}
        self._names: list[str] = []
        self._places: dict[bytes, int | tuple[int, ...]] = {}

    def has(self, file: str) -> bool:
        """Whether the answers of a file are known."""
        return file in self._files

    def note(self, key: str, file: str, number: int) -> None:
        """Have an answer's place, behind those that are known."""
        if file not in self._files:
            self._files[file] = len(self._names)
            self._names.append(file)
        place, held = self._files[file] * MOST_ROWS + number, packed(key)
        self._places[held] = (*self._of(held), place) if held in self._places else place

    def part(self, keys: Iterable[str]) -> ByRequest:
        """Those of some requests, to be sent to another process: no more than they need. None of them waits for its file."""
        part = ByRequest(self._read)
        for key in keys:
            for place in self._of(packed(key)):
                file, number = divmod(place, MOST_ROWS)
                part.note(key, self._names[file], number)
        return part

    def decisive(self, asked: Asked) -> Decisive:
        """What came of a request, read anew."""
        return decisive(asked, self.get(asked.id, ()))

    def _of(self, held: bytes) -> tuple[int, ...]:
        places = self._places.get(held, ())
        return (places,) if isinstance(places, int) else places

    def __getitem__(self, key: str) -> Sequence[Row]:
        places = self._of(packed(key))
        if not places:
            raise KeyError(key)
        return Made(len(places), lambda one: self._row(*divmod(places[one], MOST_ROWS)))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and packed(key) in self._places

    def _row(self, file: int, number: int) -> Row:
        if self._table and self._names[file] == self._table.file:
            return self._table.waiting[number]
        return self._read.row(self._names[file], number)

    def __iter__(self) -> Iterator[str]:
        return map(unpacked, self._places)

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
