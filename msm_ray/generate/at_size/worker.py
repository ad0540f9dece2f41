"""What a worker does with a block of rows: prompts, answers, settling, files; what goes back is how each row ended."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray.engines import DETERMINISTIC, Answerer, EngineSettings, Opener
from msm_ray.engines.offline import composed_answer
from msm_ray.errors import MsmError, StageError, kind_of, no_room
from msm_ray.failures import LOST, SPENT
from msm_ray.generate.askable import Table
from msm_ray.generate.asking import AGAIN, Asking
from msm_ray.generate.seats import Seats
from msm_ray.progress import Task
from msm_ray.rows.ids import unpacked
from msm_ray.rows.schemas import Row
from msm_ray.whole_files import write_whole

ENDS = pa.schema(
    [
        ("job", pa.int32()),
        ("place", pa.int32()),
        ("end", pa.string()),
        ("tries", pa.uint16()),
        ("tokens", pa.int64()),
        ("dollars", pa.float64()),
        ("why", pa.string()),
    ]
)
"""How rows ended. tokens, dollars: of the whole block, in its first row; why: of those without an answer of use."""
WRITTEN, OUT_OF_TRIES, REFUSED, NO_USE = "written", "out of tries", "refused", "no use"
"""Ends beside those of `failures` (LOST, SPENT). No use: not asked, since nothing that came was of any use."""
RAISED = "raised"
"""The end of a whole block by an error of ours; why: its kind and what it says, which Ray would wrap and shorten."""
FILE_ROWS, FILE_SECONDS, BUCKET_SECONDS = 512, 60.0, 5.0
"""A journal keeps what waits for its file; a bucket has none, so that there a file is not waited for as long."""
PASS = ".pass.tmp"
Guard = Callable[[], None]


@dataclass(frozen=True)
class Given:
    """Rows of a block: places and ids, and the tries that they had before. beside: what else is sent with them."""

    places: NDArray[np.int32]
    ids: NDArray[np.bytes_]
    tries: NDArray[np.uint16]
    beside: Any = None

    def keys(self) -> Iterator[str]:
        """Their ids."""
        return map(unpacked, self.ids)


@dataclass
class Ended:
    """How a row ended. done: it has what it was asked for; over: it has no tries left; lost, refused: why, if it was."""

    place: int
    tries: int
    done: bool = False
    over: bool = False
    lost: str | None = None
    refused: str | None = None

    def told(self, stopped: tuple[str, str]) -> tuple[str, str]:
        """(end, why). stopped: of rows that nothing came of."""
        end, why = stopped
        if self.done:
            return WRITTEN, ""
        if self.lost is not None:
            return (SPENT if end == SPENT else LOST), self.lost
        if self.over:
            return (OUT_OF_TRIES, "") if self.refused is None else (REFUSED, self.refused)
        return end, why


class Block(Protocol):
    """A block of rows in a worker. table: as they are asked; tokens: of what was written so far."""

    @property
    def table(self) -> Table:
        """Its number is 0."""

    @property
    def tokens(self) -> int:
        """Tokens of what was written."""

    def ends(self) -> Iterable[Ended]:
        """How each row stands."""


class Share(Protocol):
    """A worker's part in a job, and the files that its rows wait for."""

    def block(self, given: Given) -> Block:
        """Some of its rows."""

    def tick(self) -> None:
        """Write what is due."""

    def flush(self) -> None:
        """Write what waits."""


class Job(Protocol):
    """What workers know of a stage, sent to each once. out: its folder."""

    @property
    def out(self) -> Path:
        """Where the rows go."""

    def begin(self, writer: str, rows: int, seconds: float, guard: Guard) -> Share:
        """For a worker: its name among those that write; of its files; what raises where it should not be there any more."""


@dataclass(frozen=True)
class Brief:
    """What all workers of a pass are told. openers: of the engines that are asked; rows: of each job, all of this pass.

    numbers: of the pass, one in each job's folder while it lasts (`begin_pass`); began: when, so that files of later passes have
    later names.
    """

    jobs: Sequence[Job]
    openers: Mapping[EngineSettings, Opener]
    rows: Sequence[Given]
    numbers: Collection[str]
    began: str


def begin_pass(out: Path) -> str:
    """End whatever pass writes into a job's folder: its workers begin no further file. Returns what the next is known by."""
    number = uuid.uuid4().hex
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / PASS, number)
    return number


def end_pass(out: Path) -> None:
    """No pass writes there any more."""
    (out / PASS).unlink(missing_ok=True)


class Worker:
    """Of Ray Data: a block in (job, first and last of its rows, what is beside them), how they ended out.

    Many blocks at a time, one event loop.
    """

    def __init__(self, brief: Any):
        import ray

        self.brief: Brief = ray.get(brief)
        self.name = self.brief.began + uuid.uuid4().hex[:8]
        self.shares: dict[int, Share] = {}
        self.engines: dict[EngineSettings, tuple[Answerer, Seats]] = {}
        """Many blocks ask each at the same time."""
        self.busy = 0

    async def __call__(self, block: pa.Table) -> pa.Table:
        """One block; its rows are safe when it comes back (in a bucket some seconds later, or when the worker has no other)."""
        (said,) = block.to_pylist()
        try:
            return await self._block(said["job"], slice(said["first"], said["last"]), said["beside"])
        except (MsmError, OSError) as error:
            why = f"{full}; make room there. {AGAIN}" if (full := no_room(error)) else str(error)
            return pa.Table.from_pylist([{"job": said["job"], "end": RAISED, "why": f"{kind_of(error)}: {why}"}], ENDS)

    async def _block(self, number: int, some: slice, beside: bytes | None) -> pa.Table:
        rows = self.share(number).block(self._given(number, some, beside))
        askings = list(_by_engine(rows.table))
        self.busy += 1
        try:
            stopped = [await self.ask(asking) for asking in askings]
        finally:
            self.busy -= 1
        self._write_what_waits()
        return _ends(number, rows, stopped, sum(asking.pulse.spent for asking in askings))

    def _given(self, number: int, rows: slice, beside: bytes | None) -> Given:
        import ray.cloudpickle as pickle

        given = self.brief.rows[number]
        sent = pickle.loads(beside) if beside else None
        return Given(given.places[rows], given.ids[rows], given.tries[rows], sent)

    def share(self, number: int) -> Share:
        """This worker's part in a job."""
        if number not in self.shares:
            job = self.brief.jobs[number]
            seconds = FILE_SECONDS if isinstance(job.out, Path) else BUCKET_SECONDS
            self.shares[number] = job.begin(self.name, FILE_ROWS, seconds, partial(self._check_pass, job.out))
        return self.shares[number]

    def _check_pass(self, out: Path) -> None:
        """Raise StageError where this worker's pass is over: it was thought dead, and its rows are asked by another."""
        if (out / PASS).read_text(encoding="utf-8") not in self.brief.numbers:
            raise StageError(f"{out}: another pass writes there now; this worker ends")

    async def ask(self, asking: Asking) -> tuple[str, str]:
        """Ask for the rows that one engine answers. Returns how those ended that nothing came of, and why."""
        asked = asking.asked
        if asked.engine in DETERMINISTIC:
            asking.look_up(map(composed_answer, asking.all()))
        else:
            if asked not in self.engines:
                engine = self.brief.openers[asked]()
                self.engines[asked] = engine, Seats(engine)
            engine, seats = self.engines[asked]
            await engine.ready()
            await asking.by(engine, seats)
        asking.close()
        if asking.ledger.stopped:
            return (SPENT, asking.ledger.spent) if asking.ledger.spent else (LOST, asking.ledger.outage)
        return (NO_USE, str(asking.hopeless() or ""))

    def _write_what_waits(self) -> None:
        """Files are written when they are large enough or old enough, and when nothing else is on its way."""
        for share in self.shares.values():
            if self.busy:
                share.tick()
            else:
                share.flush()


def _by_engine(table: Table) -> Iterator[Asking]:
    groups: dict[EngineSettings, list[Row]] = {}
    for row in table.pending():
        groups.setdefault(table.engine(row), []).append(row)
    for asked, some in groups.items():
        yield Asking([table], asked, some, Task("", None, ""))


def _ends(number: int, rows: Block, said: Sequence[tuple[str, str]], dollars: float) -> pa.Table:
    """How each row ended. said: of each engine, how those ended that it gave nothing for."""
    stopped = max(said, key=lambda each: bool(each[1]), default=(NO_USE, ""))
    told: list[Row] = []
    for row in rows.ends():
        end, why = row.told(stopped)
        told.append(
            {"job": number, "place": row.place, "end": end, "tries": row.tries, "tokens": 0, "dollars": 0.0, "why": why}
        )
    for first in told[:1]:
        first |= {"tokens": rows.tokens, "dollars": dollars}
    return pa.Table.from_pylist(told, ENDS)
