"""How far a training is, seen from its driver: the workers tell it by a line a step in `metrics.jsonl`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from msm_ray import progress, training_metrics
from msm_ray.corpus.blocks import read_facts
from msm_ray.graph.artifacts import is_committed
from msm_ray.progress.growing import GrowingFiles
from msm_ray.train.job import Schedule, TrainingJob


@contextlib.contextmanager
def watched(jobs: Sequence[TrainingJob]) -> Iterator[None]:
    """Inside, the steps of all jobs are shown as one task; those of an earlier try count as done, and not into the rate."""
    look = _Look(jobs)
    with progress.task("", look.total, "steps", waits_for="the training workers to start", look=look):
        yield


class _Look:
    def __init__(self, jobs: Sequence[TrainingJob]) -> None:
        self._steps = {job.name: steps_of(job) for job in jobs}
        self._left = {job.name: job for job in jobs}
        self._done: dict[str, int] = {}
        self._files = GrowingFiles()

    @property
    def total(self) -> int:
        return sum(self._steps.values())

    def __call__(self, task: progress.Task) -> int:
        """The steps that are done; notes which job is running, as the one whose file was written last."""
        for name, job in list(self._left.items()):
            if is_committed(job.out):
                self._done[name] = self._steps[name]
                del self._left[name]
                if reporter := progress.current():  # the driver itself hears of it when the whole group is through
                    reporter.finished(name, job.out)
            else:
                self._done[name] = self._files.lines(job.out / training_metrics.FILE)
        begun = [job for job in self._left.values() if self._done[job.name]]
        if begun:
            running = max(begun, key=lambda job: (job.out / training_metrics.FILE).stat().st_mtime)
            task.now = self._line(running, task.per_second)
        task.at_work = (running.name,) if begun else tuple(self._left)[:1]
        return sum(self._done.values())

    def _line(self, job: TrainingJob, steps_per_second: float | None) -> str:
        row = _last(job.out / training_metrics.FILE)
        tokens = f", {steps_per_second * row['positions']:,.0f} tokens/s" if steps_per_second else ""
        return f"{job.name}: step {row['step']} of {self._steps[job.name]}, loss {row['loss']:.3f}{tokens}"


def steps_of(job: TrainingJob) -> int:
    """The steps of a job whose blocks are there."""
    return Schedule(job.settings, read_facts(job.blocks)["blocks"], job.seed).steps


def _last(path: Path, most: int = 4096) -> dict[str, float]:
    """The last whole line of a file of short ones."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return json.loads(file.read().rpartition(b"\n")[0].rpartition(b"\n")[2])
