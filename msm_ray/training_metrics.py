"""What a training tells while it runs: a line per step in `metrics.jsonl`, and progress for whoever watches."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msm_ray.rows.journal import read_journal
from msm_ray.whole_files import write_whole

FILE = "metrics.jsonl"


@dataclass(frozen=True)
class Progress:
    """Where a training is. loss: nats per trained token of the last step, all ranks together; gradient_norm: before clipping."""

    name: str
    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds_left: float

    def line(self) -> str:
        """One line for a log."""
        return (
            f"{self.name}: step {self.step}/{self.steps}  loss {self.loss:.4f}  lr {self.learning_rate:.2e}  "
            f"{self.tokens_per_second:,.0f} tokens/s  {self.seconds_left:.0f} s left"
        )

    def numbers(self) -> dict[str, Any]:
        """The same as a flat mapping."""
        return asdict(self)

    def curves(self) -> dict[str, float]:
        """What is drawn over `step`."""
        return {key: number for key, number in asdict(self).items() if key not in ("name", "steps", "seconds_left")}


def append(out: Path, row: dict[str, float | int]) -> None:
    """Add a step's numbers. No times among them: an interrupted training leaves the same bytes as one that was not."""
    with (out / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def restore(out: Path, checkpoint: Path | None) -> None:
    """The lines as they were at the checkpoint that the training goes on from; none: it starts at its first step."""
    rows = read(checkpoint) if checkpoint is not None else []
    write_whole(out / FILE, "".join(json.dumps(row) + "\n" for row in rows))


def read(out: Path) -> list[dict[str, Any]]:
    """The numbers of all steps in a folder, in order."""
    return read_journal(out / FILE)
