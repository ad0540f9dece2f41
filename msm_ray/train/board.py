"""What the workers of a training tell their driver while they run, as small files in a folder that both see."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msm_ray import errors
from msm_ray.errors import MsmError, StageError
from msm_ray.graph.artifacts import is_committed
from msm_ray.repeating import repeated
from msm_ray.rows.journal import read_journal
from msm_ray.train.job import TrainingJob
from msm_ray.whole_files import write_whole

FAILED, RUNNING, SAID = "failed-", "running", "said.jsonl"


@dataclass(frozen=True)
class Board:
    """One worker group's notes; those that a group left behind when it ended are read by the one that replaces it."""

    folder: Path

    def begin(self, job: TrainingJob, jobs: Sequence[TrainingJob]) -> bool:
        """Note that a job is running; False where it is not to be: committed, failed, or going on from one that did."""
        if is_committed(job.out) or held_up(job, jobs, self.failures()):
            return False
        write_whole(self.folder / RUNNING, job.name)
        return True

    def running(self) -> str | None:
        """The name of the job that was begun last; None where no group came as far as that."""
        with contextlib.suppress(OSError):
            return (self.folder / RUNNING).read_text(encoding="utf-8")
        return None

    def note_failure(self, name: str, error: MsmError) -> None:
        """Note why a job failed, as the kind of our error and its message."""
        path = self.folder / f"{FAILED}{time.time_ns()}"
        write_whole(path, json.dumps({"job": name, "kind": type(error).__name__, "message": str(error)}))

    def failures(self) -> dict[str, MsmError]:
        """Job name -> the error again, in the order in which they came; the first of several for one job."""
        notes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob(f"{FAILED}*"))]
        first: dict[str, MsmError] = {}
        for note in notes:
            first.setdefault(note["job"], getattr(errors, note["kind"], StageError)(note["message"]))
        return first

    def say(self, text: str) -> None:
        """Have a line shown to the user: what a worker prints is kept in Ray's files only."""
        with (self.folder / SAID).open("a", encoding="utf-8") as file:
            file.write(json.dumps(text) + "\n")

    @contextlib.contextmanager
    def read_aloud(self, say: Callable[[str], None], seconds: float = 1) -> Iterator[None]:
        """Pass on what the workers say, soon after they do."""
        told = 0

        def pass_on() -> None:
            nonlocal told
            try:
                said = read_journal(self.folder / SAID)
            except OSError:
                return  # looked at again in a second
            for line in said[told:]:
                say(line)
            told = len(said)

        try:
            with repeated(pass_on, seconds):
                yield
        finally:
            pass_on()


def held_up(job: TrainingJob, jobs: Sequence[TrainingJob], failed: dict[str, MsmError]) -> bool:
    """Whether a job failed, or goes on from one that is held up."""
    parents = [other for other in jobs if other.exported == job.parent]
    return job.name in failed or any(held_up(parent, jobs, failed) for parent in parents)
