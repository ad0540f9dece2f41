"""Rows through Ray Data: the driver gives places, workers give back how each row ended.

In one pass no row is given to two workers. Where a worker dies the pass ends, what its journals hold is put into files, and the
next pass begins with what is on disk: so no row is written twice, whatever dies when.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from msm_ray.ahead import Ahead
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError, QualityGateError, StageError, of_kind
from msm_ray.failures import LOST, SPENT, Ledger
from msm_ray.generate.asking import AGAIN
from msm_ray.generate.at_size.plan import Plan
from msm_ray.generate.at_size.worker import NO_USE, RAISED, REFUSED, WRITTEN, Brief, Given, Worker, begin_pass, end_pass
from msm_ray.generate.pulse import Pulse
from msm_ray.generate.stream import stream_rows
from msm_ray.progress import Task
from msm_ray.rows.schemas import Row

if TYPE_CHECKING:
    from ray.data import Dataset

LEAST_BLOCK, MOST_BLOCK, BLOCKS = 64, 1024, 1500
"""Rows that go to a worker together, and how many blocks a pass of less than 1.5 million rows has at most: Ray Data keeps some
10 kB of each. A block is told of when it ends, so that large ones would leave whoever watches without news."""
NO_LIMIT = float("inf")
"""Minutes without a row: workers watch their engines themselves, from when these can answer."""
DEATHS = 5
"""Passes in a row that may end by a worker's death without a row that was written."""
ASKER_CPUS = 0.5
GIVEN = pa.schema([("job", pa.int32()), ("first", pa.int64()), ("last", pa.int64()), ("beside", pa.large_binary())])
"""A block: rows from `first` to before `last` of those that the pass asks for, and what else is sent with them, pickled."""


def ask_at_size(plans: Sequence[Plan], engines: Engines, work: Task, ahead: Ahead) -> MsmError | None:
    """Have workers ask for what is pending, in passes until nothing is. Returns why asking stopped before, if it did.

    ahead: is given files as they are finished.
    """
    try:
        _ask_all(plans, engines, work, ahead)
        ahead.close()
    except MsmError as error:
        return error
    finally:
        for plan in plans:
            end_pass(plan.out)
    return None


def _ask_all(plans: Sequence[Plan], engines: Engines, work: Task, ahead: Ahead) -> None:
    """Each pass is twice as large as the one before: what came tells the next how to ask."""
    most, deaths = min(plan.first_pass for plan in plans), 0
    while any(len(plan.next(1)) for plan in plans):
        written = sum(int(plan.done.sum()) for plan in plans)
        stopped, died, whole = None, "", False
        try:
            stopped = _one_pass(plans, most, engines, work, ahead)
            whole = stopped is None  # but for rows that were lost, which are asked for no more in this run
        except _WorkerDied as error:
            died = str(error)
        except MsmError as error:
            stopped = error
        for plan in plans:
            begin_pass(plan.out)  # whoever of this one still lives begins no further file
            plan.recover()
            plan.look(believed=whole)
            plan.over = plan.fixed and not died  # the same would come again
        if stopped:
            raise stopped
        deaths = deaths + 1 if died and sum(int(plan.done.sum()) for plan in plans) == written else 0
        if deaths == DEATHS:
            raise StageError(f"{DEATHS} times in a row a worker died before anything was written: {died}\n{AGAIN}")
        most *= 2
    if lost := _lost(plans):
        raise lost


def _lost(plans: Sequence[Plan]) -> MsmError | None:
    """Of rows that were lost: all others have been asked for first."""
    ledger = Ledger()
    ledger.lost = {(plan.number, place): why for plan in plans for place, why in plan.lost.items()}
    return ledger.error("The engine", AGAIN)


class _WorkerDied(Exception):
    """A worker is gone, and with it what it had in memory."""


def _one_pass(plans: Sequence[Plan], most: int, engines: Engines, work: Task, ahead: Ahead) -> MsmError | None:
    """Give every plan's next rows to workers. Returns why nothing more should be asked. Raises _WorkerDied, MsmError."""
    watch = _Watch(plans, work)
    pulse = watch.pulse = Pulse(work, None, lambda: _told(engines, ahead))

    def tick() -> None:
        ahead.tick()
        pulse.tick()

    rows = stream_rows(_dataset(plans, most, engines), NO_LIMIT, tick)
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
    return watch.stopped


def _told(engines: Engines, ahead: Ahead) -> str:
    up = engines.up()
    return ", ".join(filter(None, [f"{up} engines up" if up else "", ahead.told()]))


def _size(rows: int) -> int:
    """Of blocks."""
    return max(LEAST_BLOCK, min(MOST_BLOCK, rows // BLOCKS))


def _blocks(plan: Plan, rows: Given) -> Iterator[pa.Table]:
    """The rows of a plan as they go to workers: where they stand among those that every worker has."""
    import ray.cloudpickle as pickle

    last = 0
    for part in plan.blocks(rows.places, _size(len(rows.places))):
        first, last = last, last + len(part)
        beside = plan.given(part)
        sent = None if beside is None else pickle.dumps(beside)
        yield pa.Table.from_pylist([{"job": plan.number, "first": first, "last": last, "beside": sent}], GIVEN)


def _dataset(plans: Sequence[Plan], most: int, engines: Engines) -> Dataset:
    import ray

    next_ = [plan.next(most) for plan in plans]
    rows = [Given(places, plan.ids[places], plan.tries[places]) for plan, places in zip(plans, next_, strict=True)]
    blocks = [block for plan, given in zip(plans, rows, strict=True) for block in _blocks(plan, given)]
    workers, at_once = _how_many(plans, engines, len(blocks), max(_size(len(places)) for places in next_))
    openers = {asked: engines.opener(asked, workers) for plan in plans for asked in plan.asked}
    jobs = [plan.job() for plan in plans]
    brief = ray.put(Brief(jobs, openers, rows, [begin_pass(plan.out) for plan in plans], _now()))
    given = ray.data.from_blocks(blocks)  # `from_arrow` asks a task about each: 5 ms and 50 kB of it
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when it is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there will be other names for the last three in Ray 2.64
        return given.map_batches(
            Worker,
            fn_constructor_args=(brief,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2 * at_once),
            num_cpus=ASKER_CPUS if openers else 1,
            max_concurrency=at_once,
            max_restarts=0,
            max_task_retries=0,
        )


def _now() -> str:
    return f"{time.time_ns() // 10**6:011x}"


def _how_many(plans: Sequence[Plan], engines: Engines, blocks: int, size: int) -> tuple[int, int]:
    """(workers, blocks that each has at a time): one a node where engines are asked, one a core where workers compose.

    Blocks for three times the rows in flight, since towards its end a block has few left to ask.
    """
    import ray

    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    if all(plan.fixed for plan in plans):
        return max(1, min(blocks, sum(int(min(cpus, os.cpu_count() or 1)) for cpus in nodes))), 1
    workers = max(1, min(blocks, len([cpus for cpus in nodes if cpus >= 1])))
    in_flight = max(engines.rows_at_once(asked) for plan in plans for asked in plan.asked)
    return workers, max(4, 3 * in_flight // (size * workers))


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
        if end == RAISED:
            kind, _, said = row["why"].partition(": ")
            raise of_kind(kind, said)
        key = (row["job"], place)
        plan.tries[place] = row["tries"]
        plan.lost.pop(place, None)
        plan.tokens += row["tokens"]
        self.pulse.note(0, row["tokens"])
        self.pulse.spent += row["dollars"]
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
