"""How far rollouts are, seen from the driver: whoever asks writes a line an answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from msm_ray import progress
from msm_ray.evals.answer_file import FILE, REFUSED_FILE
from msm_ray.evals.items import read_items
from msm_ray.graph.artifacts import is_committed
from msm_ray.progress.growing import GrowingFiles


class Job(Protocol):
    """What is watched."""

    @property
    def out(self) -> Path:
        """Where answers come."""

    @property
    def items(self) -> Path:
        """The items stage's folder."""


@contextlib.contextmanager
def watched(jobs: Mapping[str, Job]) -> Iterator[None]:
    """Inside, the rollouts of all jobs (by stage) are shown as one task. Answers of an earlier try are done, and in no rate."""
    look = _Look(jobs)
    with progress.task("", look.total, "rollouts", done=look.count(), waits_for="the first answer", look=look):
        yield


class _Look:
    def __init__(self, jobs: Mapping[str, Job]) -> None:
        each = {folder: sum(i["epochs"] for i in read_items(folder)) for folder in {job.items for job in jobs.values()}}
        self._asked = {key: each[job.items] for key, job in jobs.items()}
        self._left, self._done = dict(jobs), dict.fromkeys(jobs, 0)
        self._files = GrowingFiles()

    @property
    def total(self) -> int:
        return sum(self._asked.values())

    def count(self) -> int:
        """Rollouts that are settled: answered, or refused for their own sake."""
        for key, job in list(self._left.items()):
            if is_committed(job.out):
                self._done[key] = self._asked[key]
                del self._left[key]
            else:
                self._done[key] = sum(self._files.lines(job.out / name) for name in (FILE, REFUSED_FILE))
        return sum(self._done.values())

    def __call__(self, task: progress.Task) -> int:
        """The same; notes which stages got answers since the last look."""
        before = dict(self._done)
        count = self.count()
        if moved := tuple(key for key in self._left if self._done[key] > before[key]):
            task.at_work, task.now = moved, "asking " + ", ".join(key.partition("/")[2] for key in moved[:3])
        elif not any(key in self._left for key in task.at_work or ()):
            task.at_work = tuple(self._left)[:1]
        return count
