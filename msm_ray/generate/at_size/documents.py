"""Documents by the hundred thousand: what the driver knows of a job of them, and what a worker makes of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msm_ray.ahead import Ahead
from msm_ray.engines import DETERMINISTIC, EngineSettings
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError
from msm_ray.generate.at_size.passes import ask_at_size
from msm_ray.generate.at_size.plan import ALL, Plan, where
from msm_ray.generate.at_size.worker import Ended, Given, Guard
from msm_ray.generate.document_job import RECORDED, DocumentJob
from msm_ray.generate.document_outcomes import USUAL_TOKENS, avoided_names, is_fixed, is_refusal, why_not_whole
from msm_ray.generate.document_rows import JobRows, Part, job_ids
from msm_ray.generate.outline import Idea
from msm_ray.generate.shards import FIXED_ROWS, FixedShards, GrowingShards, recover_documents
from msm_ray.progress import Task
from msm_ray.rows.ids import Order, packed_array
from msm_ray.rows.tables import read_table

SAMPLE = 5_000
"""Documents that are looked at for names that come too often."""


def write_at_size(jobs: Sequence[DocumentJob], engines: Engines, work: Task, ahead: Ahead) -> list[MsmError | None]:
    """Write the documents of jobs through Ray's workers; for each, why it is not whole, if it is not.

    ahead: is given files as they are finished.
    """
    engines.need_ray()
    for job in jobs:
        recover_documents(job.out)
    plans = [DocumentPlan(number, job) for number, job in enumerate(jobs)]
    work.found(sum(len(plan) - len(plan.pending()) for plan in plans))
    stopped = ask_at_size(plans, engines, work, ahead)
    return [plan.problem(stopped) for plan in plans]


class DocumentPlan(Plan):
    """One job."""

    def __init__(self, number: int, what: DocumentJob):
        super().__init__(number, what.out, job_ids(what))
        self.what, self.fixed = what, is_fixed(what)
        self.open_world = not self.fixed and not what.world.closed
        self.first_pass = what.where.portion if self.open_world else ALL
        self.look()

    @property
    def asked(self) -> Set[EngineSettings]:
        """Those of all its writers that are asked at all."""
        asked = {writer.engine(recorded=RECORDED) for writer in self.what.writers}
        return {each for each in asked if each.engine not in DETERMINISTIC}

    def job(self) -> WrittenJob:
        """The job, and what its writers leave out by what is there now."""
        return WrittenJob(self.what, avoided_names(self.what, self.open_world and bool(self.done.any()), SAMPLE))

    def given(self, places: NDArray[np.int32]) -> Any:
        """Ideas are made where they are needed."""
        return None

    def recover(self) -> None:
        """Of accepted and rejected documents, and raw answers."""
        recover_documents(self.out)

    def look(self, believed: bool = False) -> None:
        """See what lies in the job's folder; nothing that was told is believed."""
        self.done[:], self.tries[:] = False, 0
        self.refused, self.tokens = {}, 0
        order = Order(self.ids)
        for path in sorted((self.out / "data").glob("*.parquet")):
            table = read_table(path, ["id", "tokens"])
            places, ours = order.find(packed_array(table["id"].to_pylist()))
            self.done[places[ours]] = True
            self.tokens += sum(tokens or 0 for tokens in table["tokens"].to_pylist())
        for path in sorted((self.out / "rejected").glob("*.parquet")):
            table = read_table(path, ["id", "reason"])
            places, ours = order.find(packed_array(table["id"].to_pylist()))
            np.add.at(self.tries, places[ours], 1)
            for place, mine, reason in zip(places.tolist(), ours, table["reason"].to_pylist(), strict=True):
                if mine and is_refusal(reason):
                    self.refused[place] = reason
        if self.fixed:
            self._forget_halves()

    def _forget_halves(self) -> None:
        """Shards that are made anew as a whole: those without all rows that they are to have."""
        shards = FixedShards(self.out, len(self))
        for first in range(0, len(self), FIXED_ROWS):
            if not shards.done(first):
                self.done[first : first + FIXED_ROWS] = False
                self.tries[first : first + FIXED_ROWS] = 0
            else:
                self.tries[first : first + FIXED_ROWS] = self.what.where.attempts

    @property
    def enough(self) -> bool:
        """Whether the documents that are there have the tokens that are wanted."""
        target = self.what.target_tokens
        return target is not None and self.tokens >= target

    def pending(self) -> NDArray[np.int32]:
        """Places of rows without a document and with tries left."""
        if self.enough:
            return np.zeros(0, np.int32)
        return where(~self.done & (self.tries < self.what.where.attempts))

    def next(self, most: int) -> NDArray[np.int32]:
        """Of a target of tokens no more than it needs."""
        if self.what.target_tokens is not None and not self.fixed:
            written = int(self.done.sum())
            each = self.tokens / written if written and self.tokens else USUAL_TOKENS
            most = min(most, max(1, round((self.what.target_tokens - self.tokens) / each)))
        return super().next(most)

    def blocks(self, places: NDArray[np.int32], size: int) -> list[NDArray[np.int32]]:
        """Of what is always the same, whole files together."""
        if not self.fixed or not len(places):
            return super().blocks(places, size)
        files = FIXED_ROWS * -(-size // FIXED_ROWS)
        return np.split(places, np.flatnonzero(np.diff(places // files)) + 1)

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why this is not the whole, if it is not."""
        refused = [reason for place, reason in self.refused.items() if not self.done[place]]
        lost = {self.key(place): why for place, why in self.lost.items()}
        return why_not_whole(self.what, len(self), lost, refused, stopped if len(self.pending()) else None)


@dataclass(frozen=True)
class WrittenJob:
    """A job as workers have it. avoided: names and openings that its writers are told to leave out."""

    what: DocumentJob
    avoided: str

    @property
    def out(self) -> Path:
        """The stage's folder."""
        return self.what.out

    def begin(self, writer: str, rows: int, seconds: float, guard: Guard) -> DocumentShare:
        """A worker's part."""
        ideas = self.what.ideas()
        if is_fixed(self.what):
            return DocumentShare(self, ideas, None)
        return DocumentShare(self, ideas, GrowingShards(self.out, rows, seconds, writer, guard))


@dataclass(frozen=True)
class DocumentShare:
    """A worker's part in a job. shards: None where each block has whole files of its own."""

    job: WrittenJob
    ideas: Sequence[Idea]
    shards: GrowingShards | None

    def block(self, given: Given) -> DocumentBlock:
        """Some of its rows."""
        ids = dict(zip(given.places.tolist(), given.keys(), strict=True))
        tries = dict(zip(ids.values(), given.tries.tolist(), strict=True))
        shards = self.shards or FixedShards(self.job.out, len(self.ideas), alone=False)
        part = Part(self.ideas, ids, tries, shards, self.job.avoided)
        return DocumentBlock(JobRows(0, self.job.what, part))

    def tick(self) -> None:
        """Write what is due."""
        if self.shards:
            self.shards.tick()

    def flush(self) -> None:
        """Write what waits."""
        if self.shards:
            self.shards.flush()


@dataclass(frozen=True)
class DocumentBlock:
    """A block of documents."""

    table: JobRows

    @property
    def tokens(self) -> int:
        """Of the documents that were written."""
        return self.table.tokens

    def ends(self) -> Iterator[Ended]:
        """How each stands."""
        rows = self.table
        for key, row in rows.rows.items():
            over = rows.fixed or rows.tries[key] >= rows.attempts
            lost, refused = rows.lost.get(key), rows.refused.get(key)
            yield Ended(row["position"], rows.tries[key], key in rows.done, over, lost, refused)
