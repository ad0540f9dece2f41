"""What a worker does with a block of rows: prompts, answers, documents, files; what goes back is how each row ended."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from msm_ray.engines import DETERMINISTIC, Answer, Answerer, EngineSettings, Opener
from msm_ray.engines.offline import composed_answer
from msm_ray.errors import StageError
from msm_ray.failures import LOST, SPENT
from msm_ray.generate.asking import Asking
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_outcomes import is_fixed
from msm_ray.generate.document_rows import JobRows, Part
from msm_ray.generate.outline import Idea
from msm_ray.generate.shards import FixedShards, GrowingShards
from msm_ray.progress import Task
from msm_ray.rows.schemas import Row
from msm_ray.whole_files import write_whole

ENDS = pa.schema(
    [
        ("job", pa.int32()),
        ("place", pa.int32()),
        ("end", pa.string()),
        ("tries", pa.uint8()),
        ("tokens", pa.int64()),
        ("why", pa.string()),
    ]
)
"""How rows ended. tokens: of the documents of the whole block, in its first row; why: of those that were not written."""
WRITTEN, OUT_OF_TRIES, REFUSED, NO_USE = "written", "out of tries", "refused", "no use"
"""Ends beside those of `failures` (LOST, SPENT). No use: not asked, since nothing that came was of any use."""
FILE_ROWS, FILE_SECONDS, BUCKET_SECONDS = 512, 60.0, 5.0
"""A journal keeps what waits for its file; a bucket has none, so that there a file is not waited for as long."""
PASS = ".pass.tmp"


@dataclass(frozen=True)
class Brief:
    """What all workers of a pass are told. openers: of the engines that are asked; avoided: what each job's writers leave out.

    numbers: of the pass, one in each job's folder while it lasts (`begin_pass`).
    """

    jobs: Sequence[DocumentJob]
    openers: Mapping[EngineSettings, Opener]
    avoided: Sequence[str]
    numbers: Collection[str]


def begin_pass(out: Path) -> str:
    """End whatever pass writes into a job's folder: its workers begin no further file. Returns what the next is known by."""
    number = uuid.uuid4().hex
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / PASS, number)
    return number


def end_pass(out: Path) -> None:
    """No pass writes there any more."""
    (out / PASS).unlink(missing_ok=True)


class DocumentWorker:
    """Of Ray Data: a block of (job, place, id, tries) in, how they ended out. Many blocks at a time, one event loop."""

    def __init__(self, brief: Any):
        import ray

        self.brief: Brief = ray.get(brief)
        self.name = uuid.uuid4().hex[:10]
        self.ideas: dict[int, Sequence[Idea]] = {}
        self.shards: dict[int, FixedShards | GrowingShards] = {}
        self.engines: dict[EngineSettings, SharedEngine] = {}
        self.busy = 0

    async def __call__(self, block: pa.Table) -> pa.Table:
        """One block; its rows are safe when it comes back (in a bucket some seconds later, or when the worker has no other)."""
        number = block["job"][0].as_py()
        rows = JobRows(0, self.brief.jobs[number], self._part(number, block))
        self.busy += 1
        try:
            said = [await self._ask(asking) for asking in _by_engine(rows)]
        finally:
            self.busy -= 1
        self._write_what_waits()
        return _ends(number, rows, said)

    def _part(self, number: int, block: pa.Table) -> Part:
        job = self.brief.jobs[number]
        if number not in self.ideas:
            self.ideas[number] = job.ideas()
        if is_fixed(job):
            shards: FixedShards | GrowingShards = FixedShards(job.out, len(self.ideas[number]), alone=False)
        else:
            if number not in self.shards:
                guard = partial(self._check_pass, job.out)
                seconds = FILE_SECONDS if isinstance(job.out, Path) else BUCKET_SECONDS
                self.shards[number] = GrowingShards(job.out, FILE_ROWS, seconds, self.name, guard)
            shards = self.shards[number]
        ids = dict(zip(block["place"].to_pylist(), block["id"].to_pylist(), strict=True))
        tries = dict(zip(block["id"].to_pylist(), block["tries"].to_pylist(), strict=True))
        return Part(self.ideas[number], ids, tries, shards, self.brief.avoided[number])

    def _check_pass(self, out: Path) -> None:
        """Raise StageError where this worker's pass is over: it was thought dead, and its rows are asked by another."""
        if (out / PASS).read_text(encoding="utf-8") not in self.brief.numbers:
            raise StageError(f"{out}: another pass writes there now; this worker ends")

    async def _ask(self, asking: Asking) -> tuple[str, str]:
        """Ask for the rows that one engine answers. Returns how those ended that nothing came of, and why."""
        asked = asking.asked
        if asked.engine in DETERMINISTIC:
            asking.look_up(map(composed_answer, asking.all()))
        else:
            if asked not in self.engines:
                self.engines[asked] = SharedEngine(self.brief.openers[asked])
            asking.settled = self.engines[asked].free
            await asking.through(lambda: self.engines[asked])
        asking.close()
        if asking.ledger.stopped:
            return (SPENT, asking.ledger.spent) if asking.ledger.spent else (LOST, asking.ledger.outage)
        return (NO_USE, str(asking.hopeless() or ""))

    def _write_what_waits(self) -> None:
        """Files are written when they are large enough or old enough, and when nothing else is on its way."""
        for shards in self.shards.values():
            if self.busy:
                shards.tick()
            else:
                shards.flush()


class SharedEngine:
    """An engine that many blocks ask at the same time: each brings all its rows, and as many are let in as the engine wants."""

    in_flight = 10**9

    def __init__(self, opener: Callable[[], Answerer]):
        self.engine = opener()
        self.asked = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    @property
    def can_answer(self) -> bool:
        """Whether the engine can."""
        return bool(getattr(self.engine, "can_answer", True))

    async def ready(self) -> None:
        """When the engine is."""
        await self.engine.ready()

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """The engine's answer, in its turn. The turn ends when the answer is safe (`free`), not when it has come."""
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        self._let_in()
        await turn
        try:
            return await self.engine.answer(row)
        except asyncio.CancelledError:
            self.free()
            raise

    def free(self) -> None:
        """An answer is safe: another row may be asked."""
        self.asked -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self.waiting and self.asked < self.engine.in_flight:
            turn = self.waiting.popleft()
            if not turn.done():  # else it was cancelled
                self.asked += 1
                turn.set_result(None)

    async def close(self) -> None:
        """Others still ask."""


def _by_engine(rows: JobRows) -> Iterator[Asking]:
    groups: dict[EngineSettings, list[Row]] = {}
    for row in rows.pending():
        groups.setdefault(rows.engine(row), []).append(row)
    for asked, some in groups.items():
        yield Asking([rows], asked, some, Task("", None, ""))


def _ends(number: int, rows: JobRows, said: Sequence[tuple[str, str]]) -> pa.Table:
    """How each row ended. said: of each engine, how those ended that it gave nothing for."""
    stopped = max(said, key=lambda each: bool(each[1]), default=(NO_USE, ""))
    told: list[Row] = []
    for key, row in rows.rows.items():
        end, why = stopped
        if key in rows.done:
            end, why = WRITTEN, ""
        elif key in rows.lost:
            end, why = (SPENT if end == SPENT else LOST), rows.lost[key]
        elif rows.fixed or rows.tries[key] >= rows.attempts:
            end, why = (REFUSED, rows.refused[key]) if key in rows.refused else (OUT_OF_TRIES, "")
        tokens = 0 if told else rows.tokens
        told.append(
            {
                "job": number,
                "place": row["position"],
                "end": end,
                "tries": rows.tries[key],
                "tokens": tokens,
                "why": why,
            }
        )
    return pa.Table.from_pylist(told, ENDS)
