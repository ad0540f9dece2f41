"""Every answer on the disk as soon as it is there: what makes rollouts go on after a kill. Plain Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from msm_ray.failures import Ledger
from msm_ray.rows.journal import read_journal, reopened

FILE = "answers.jsonl"
REFUSED_FILE = "refused.jsonl"
OPTIONAL = ("reasoning", "score", "why")
"""Fields of a line that are left out where they say nothing."""


@dataclass(frozen=True)
class Answer:
    """One rollout's answer. sample and epoch say which; stop: why it ended (stop, max_tokens, ...); tokens generated.

    reasoning: what was thought before the answer; `text` never holds it, and is empty where the reply ended in it.
    score, why: what the task's own scorer said of it, where it has one.
    """

    sample: str
    epoch: int
    text: str
    stop: str
    tokens: int
    reasoning: str = ""
    score: str | float | None = None
    why: str = ""


class AnswerFile:
    """Append-only JSONL, one line an answer, each written whole; a line that a kill cut off is dropped and asked again.

    Inspect's own logs are written in batches and lose what is in memory; a rollout that was answered is never asked twice.
    refused: rollouts that the server refused for their own sake -> why, in a file of their own; they are not asked again.
    ledger: what came of the rollouts that this process asked.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._answers = {(answer.sample, answer.epoch): answer for answer in map(_answer, reopened(self._path))}
        self._file = self._path.open("a", encoding="utf-8")
        self._refused_path = folder / REFUSED_FILE
        self.refused = {(row["sample"], row["epoch"]): row["reason"] for row in reopened(self._refused_path)}
        self.ledger = Ledger()

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers.values())

    def get(self, sample: str, epoch: int) -> Answer | None:
        """The kept answer of a rollout."""
        return self._answers.get((sample, epoch))

    def add(self, answer: Answer) -> None:
        """Keep an answer; it is with the operating system before this returns."""
        row = {key: value for key, value in asdict(answer).items() if key not in OPTIONAL or value not in (None, "")}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        self._answers[answer.sample, answer.epoch] = answer

    def refuse(self, sample: str, epoch: int, reason: str) -> None:
        """Settle a rollout as refused."""
        self.refused[sample, epoch] = reason
        with self._refused_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"sample": sample, "epoch": epoch, "reason": reason}, ensure_ascii=False) + "\n")


def read_answers(folder: Path) -> dict[tuple[str, int], Answer]:
    """The answers in a rollouts folder, by (sample, epoch); one that is being written is not there yet."""
    return {(answer.sample, answer.epoch): answer for answer in map(_answer, read_journal(folder / FILE))}


def _answer(row: dict[str, Any]) -> Answer:
    return Answer(**row)
