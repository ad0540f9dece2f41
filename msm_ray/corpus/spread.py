"""Numbered pieces of work that each leave files of their own: done here one after the other, or by Ray's workers.

Each leaves a note when it is done, last. What has its note is not done again, so that a run that was killed goes on; and since
every piece of work is a function of its number, it's all the same who does it, how many do, and in which order.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from msm_ray.errors import MsmError, kind_of, of_kind
from msm_ray.whole_files import write_whole

Note = dict[str, Any]


class Work(Protocol):
    """What can be sent to a worker."""

    @property
    def count(self) -> int:
        """How many pieces of work there are."""

    def note(self, number: int) -> Path:
        """Where a piece's note lies."""

    def do(self, number: int) -> Note:
        """Write a piece's files; returns what its note is to say, as JSON has it."""


def notes(work: Work, *, on_ray: bool) -> Iterator[tuple[int, Note]]:
    """Every piece's number and note, as they come: first those that are there. What a piece raises is raised here.

    on_ray: the others are done by the workers of the Ray that is connected, one CPU each.
    """
    left = []
    for number in range(work.count):
        if work.note(number).is_file():
            yield number, json.loads(work.note(number).read_text(encoding="utf-8"))
        else:
            left.append(number)
    yield from _on_ray(work, left) if on_ray else ((number, _noted(work, number)) for number in left)


def _noted(work: Work, number: int) -> Note:
    said = work.do(number)
    write_whole(work.note(number), json.dumps(said))
    return said


def _on_ray(work: Work, left: Sequence[int]) -> Iterator[tuple[int, Note]]:
    if not left:
        return
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when it is imported
    said = ray.data.from_items([{"number": number} for number in left], override_num_blocks=len(left)).map_batches(
        Worker,
        fn_constructor_args=(work,),
        batch_size=1,
        num_cpus=1,
        concurrency=(1, max(1, min(len(left), _cores()))),
    )
    for row in said.iter_rows():
        if row["kind"]:
            raise of_kind(row["kind"], row["said"])
        yield row["number"], json.loads(row["said"])


def _cores() -> int:
    """Cores of the Ray that is connected; a local one may be told of more CPUs than there are."""
    import ray

    told = int(ray.cluster_resources().get("CPU", 1))
    return min(told, os.cpu_count() or 1) if len(ray.nodes()) == 1 else told


class Worker:
    """A worker of Ray Data. An error of ours comes back as its kind and message: Ray would wrap it, and try again."""

    def __init__(self, work: Work):
        self.work = work

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """What each piece of work noted."""
        said: dict[str, list[Any]] = {"number": [], "kind": [], "said": []}
        for number in batch["number"]:
            try:
                kind, told = "", json.dumps(_noted(self.work, int(number)))
            except (MsmError, OSError) as error:
                kind, told = kind_of(error), str(error)
            for column, value in zip(said, (int(number), kind, told), strict=True):
                said[column].append(value)
        return said
