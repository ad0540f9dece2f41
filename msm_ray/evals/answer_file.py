"""Every answer on the disk as soon as it is there: what makes rollouts go on after a kill. Plain Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from msm_ray.failures import Ledger

FILE = "answers.jsonl"
REFUSED_FILE = "refused.jsonl"


@dataclass(frozen=True)
class Answer:
    """One rollout's answer. sample and epoch say which; stop: why it ended (stop, max_tokens, ...); tokens generated.

    reasoning: what was thought before the answer; `text` never holds it, and is empty where the reply ended in it.
    """

    sample: str
    epoch: int
    text: str
    stop: str
    tokens: int
    reasoning: str = ""


class AnswerFile:
    """Append-only JSONL, one line an answer, each written whole; a line that a kill cut off is dropped and asked again.

    So it is read here, not by `rows.files`, which calls such a line a fault of the file and cuts nothing off.
    Inspect's own logs are written in batches and lose what is in memory; a rollout that was answered is never asked twice.
    refused: rollouts that the server refused for their own sake -> why, in a file of their own; they are not asked again.
    ledger: what came of the rollouts that this process asked.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._answers = {(answer.sample, answer.epoch): answer for answer in _whole_lines(self._path)}
        self._file = self._path.open("a", encoding="utf-8")
        self._refused_path = folder / REFUSED_FILE
        refused = [json.loads(line) for line in _cut_to_whole_lines(self._refused_path)]
        self.refused = {(row["sample"], row["epoch"]): row["reason"] for row in refused}
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
        row = {key: value for key, value in asdict(answer).items() if key != "reasoning" or value}
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
    path = folder / FILE
    content = path.read_bytes() if path.is_file() else b""
    answers = _parse(content[: content.rfind(b"\n") + 1])
    return {(answer.sample, answer.epoch): answer for answer in answers}


def _whole_lines(path: Path) -> list[Answer]:
    """Read what is whole and cut off the rest."""
    return [Answer(**json.loads(line)) for line in _cut_to_whole_lines(path)]


def _cut_to_whole_lines(path: Path) -> list[bytes]:
    if not path.is_file():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    return [line for line in content[:end].split(b"\n") if line]


def _parse(lines: bytes) -> list[Answer]:
    """Lines end at \\n alone: an answer may hold other characters at which `str.splitlines` would cut."""
    return [Answer(**json.loads(line)) for line in lines.split(b"\n") if line]
