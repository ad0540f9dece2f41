"""Documents through Ray Data: the driver gives ids, workers give back how each row ended.

In one pass no row is given to two workers. Where a worker dies the pass ends, what its journals hold is put into files, and the
next pass begins with what is on disk: so no row has two documents, whatever dies when.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from msm_ray.ahead import Ahead
from msm_ray.engines import DETERMINISTIC, EngineSettings
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError, QualityGateError, StageError
from msm_ray.failures import LOST, SPENT, Ledger
from msm_ray.generate.asking import AGAIN
from msm_ray.generate.at_size.plan import Plan
from msm_ray.generate.at_size.worker import NO_USE, REFUSED, WRITTEN, Brief, DocumentWorker, begin_pass, end_pass
from msm_ray.generate.document_job import RECORDED, DocumentJob
from msm_ray.generate.document_outcomes import avoided_names
from msm_ray.generate.pulse import Pulse
from msm_ray.generate.shards import FIXED_ROWS, recover_documents
from msm_ray.generate.stream import stream_rows
from msm_ray.progress import Task
from msm_ray.rows.schemas import Row

if TYPE_CHECKING:
    from ray.data import Dataset

LEAST_BLOCK, MOST_BLOCK, BLOCKS = 64, 4096, 2000
"""Rows that go to a worker together, and about how many blocks a pass has at most: Ray Data keeps some 60 kB of each."""
NO_LIMIT = float("inf")
"""Minutes without a row: workers watch their engines themselves, from when these can answer."""
SAMPLE = 5_000
"""Documents that are looked at for names that come too often."""
DEATHS = 5
"""Passes in a row that may end by a worker's death without a row that was written."""
ASKER_CPUS = 0.5


def write_at_size(jobs: Sequence[DocumentJob], engines: Engines, work: Task, ahead: Ahead) -> list[MsmError | None]:
    """Write the documents of jobs through Ray's workers; for each, why it is not whole, if it is not.

    ahead: is given files as they are finished.
    """
    engines.need_ray()
    for job in jobs:
        recover_documents(job.out)
    plans = [Plan(number, job) for number, job in enumerate(jobs)]
    work.found(sum(len(plan) - len(plan.pending()) for plan in plans))
    stopped: MsmError | None = None
    try:
        _write_all(plans, engines, work, ahead)
        ahead.close()
    except MsmError as error:
        stopped = error
    finally:
        for job in jobs:
            end_pass(job.out)
    return [plan.problem(stopped) for plan in plans]


def _write_all(plans: list[Plan], engines: Engines, work: Task, ahead: Ahead) -> None:
    """Passes until nothing is pending, each twice as large as the one before: what came tells the next which names to avoid."""
    most, deaths = _first_pass(plans), 0
    while any(len(plan.next(1)) for plan in plans):
        written = sum(int(plan.done.sum()) for plan in plans)
        stopped, died = None, ""
        try:
            stopped = _one_pass(plans, most, engines, work, ahead)
        except _WorkerDied as error:
            died = str(error)
        for plan in plans:
            begin_pass(plan.job.out)  # whoever of this one still lives begins no further file
            recover_documents(plan.job.out)
            plan.look()
            plan.over = plan.fixed and not died  # the same would come again
        if stopped:
            raise stopped
        deaths = deaths + 1 if died and sum(int(plan.done.sum()) for plan in plans) == written else 0
        if deaths == DEATHS:
            raise StageError(f"{DEATHS} times in a row a worker died before anything was written: {died}\n{AGAIN}")
        most *= 2


def _first_pass(plans: Sequence[Plan]) -> int:
    """Rows of a job that are asked for before names that come too often are looked for; all where that plays no part."""
    open_worlds = [plan.job.where.portion for plan in plans if not plan.fixed and not plan.job.world.closed]
    return min(open_worlds, default=2**31)


class _WorkerDied(Exception):
    """A worker is gone, and with it what it had in memory."""


def _one_pass(plans: Sequence[Plan], most: int, engines: Engines, work: Task, ahead: Ahead) -> MsmError | None:
    """Give every job's next rows to workers. Returns why nothing more should be asked. Raises _WorkerDied, MsmError."""
    watch = _Watch(plans, work)
    given = [block for plan in plans for block in _blocks(plan, plan.next(most))]
    pulse = watch.pulse = Pulse(work, None, lambda: _told(engines, ahead))

    def tick() -> None:
        ahead.tick()
        pulse.tick()

    rows = stream_rows(_dataset(given, plans, engines), NO_LIMIT, tick)
    try:
        for row in rows:
            watch.note(row)
            tick()
            if watch.stopped:
                break
    except StageError as error:
        if _is_death(error):
            raise _WorkerDied(str(error)) from error
        raise
    finally:
        rows.close()
    watch.ledger.close()
    return watch.stopped or watch.ledger.error("The engine", AGAIN)


def _told(engines: Engines, ahead: Ahead) -> str:
    up = engines.up()
    return ", ".join(filter(None, [f"{up} engines up" if up else "", ahead.told()]))


def _blocks(plan: Plan, places: np.ndarray) -> Iterator[pa.Table]:
    """Rows cut into blocks; of what is always the same, whole files together."""
    size = max(LEAST_BLOCK, min(MOST_BLOCK, len(places) // BLOCKS))
    files = FIXED_ROWS * -(-size // FIXED_ROWS)
    edges = np.flatnonzero(np.diff(places // files)) + 1 if plan.fixed else np.arange(size, len(places), size)
    for part in np.split(places, edges):
        if len(part):
            yield pa.table(
                {
                    "job": pa.array(np.full(len(part), plan.number, np.int32)),
                    "place": pa.array(part.astype(np.int32)),
                    "id": [plan.key(place) for place in part],
                    "tries": pa.array(plan.tries[part]),
                }
            )


def _dataset(blocks: list[pa.Table], plans: Sequence[Plan], engines: Engines) -> Dataset:
    import ray

    workers, at_once = _how_many(plans, engines, len(blocks))
    openers = {asked: engines.opener(asked, workers) for plan in plans for asked in _engines(plan.job)}
    avoided = [avoided_names(plan.job, not plan.job.world.closed and bool(plan.done.any()), SAMPLE) for plan in plans]
    numbers = [begin_pass(plan.job.out) for plan in plans]
    brief = ray.put(Brief([plan.job for plan in plans], openers, avoided, numbers))
    given = ray.data.from_arrow(blocks)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when it is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there will be other names for the last three in Ray 2.64
        return given.map_batches(
            DocumentWorker,
            fn_constructor_args=(brief,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2 * at_once),
            num_cpus=ASKER_CPUS if openers else 1,
            max_concurrency=at_once,
            max_restarts=0,
            max_task_retries=0,
        )


def _engines(job: DocumentJob) -> set[EngineSettings]:
    """Those that have to be opened."""
    asked = {writer.engine(recorded=RECORDED) for writer in job.writers}
    return {each for each in asked if each.engine not in DETERMINISTIC}


def _how_many(plans: Sequence[Plan], engines: Engines, blocks: int) -> tuple[int, int]:
    """(workers, blocks that each has at a time): one a node where engines are asked, one a core where workers compose."""
    import ray

    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    if all(plan.fixed for plan in plans):
        return max(1, min(blocks, sum(int(min(cpus, os.cpu_count() or 1)) for cpus in nodes))), 1
    workers = max(1, min(blocks, len([cpus for cpus in nodes if cpus >= 1])))
    in_flight = max(engines.rows_at_once(asked) for plan in plans for asked in _engines(plan.job))
    return workers, max(4, 3 * in_flight // (LEAST_BLOCK * workers))


class _Watch:
    """What comes back from workers: counted, shown, and looked at for a sense in going on."""

    def __init__(self, plans: Sequence[Plan], work: Task):
        self.plans, self.work = plans, work
        self.ledger = Ledger()
        self.stopped: MsmError | None = None
        self.pulse: Pulse = Pulse(work, None)

    def note(self, row: Row) -> None:
        """One row's end."""
        plan, place, end = self.plans[row["job"]], row["place"], row["end"]
        key = (row["job"], place)
        plan.tries[place] = row["tries"]
        plan.lost.pop(place, None)
        plan.tokens += row["tokens"]
        self.pulse.note(0, row["tokens"])
        if end == WRITTEN:
            plan.done[place] = True
            self.ledger.answered(key)
        elif end in (LOST, SPENT):
            plan.lost[place] = row["why"]
            self.ledger.failed(key, row["why"], end, lambda: None)
        elif end == NO_USE:
            self._no_use(row["why"])
            return
        else:
            if end == REFUSED:
                plan.refused[place] = row["why"]
            else:
                self.ledger.answered(key)
        self.work.advance()
        if self.ledger.stopped:
            self.stopped = self.ledger.error("The engine", AGAIN)

    def _no_use(self, why: str) -> None:
        """A block was given up: where nothing was ever of use, so is the rest."""
        if why and not any(plan.done.any() for plan in self.plans):
            self.stopped = QualityGateError(why)


def _is_death(error: BaseException | None) -> bool:
    """Whether a process or a node went away, rather than its code failing."""
    import ray

    gone = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.NodeDiedError,
            ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)  # fmt: skip
    while error is not None:
        if isinstance(error, gone):
            return True
        error = error.__cause__
    return False
