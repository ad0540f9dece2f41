"""The one way to ask: rows -> prompts -> engine -> answers that are settled one by one.

Whoever has rows to be answered holds them in a **table** (documents: `document_rows.py`; calls: `calls/table.py`), which says
which are still to be asked, who answers them, and what an answer is worth. Rows of all tables that the same engine answers go
through one start of it. An answer that can't be used is asked for again in a next round, up to the table's attempts.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from msm_ray.engines import DETERMINISTIC, EngineSettings
from msm_ray.engines.choosing import build_engine
from msm_ray.engines.replay import answered_here
from msm_ray.engines.spending import Spending
from msm_ray.errors import MsmError, OutOfMeans, QualityGateError
from msm_ray.failures import Ledger
from msm_ray.generate.stream import stream_rows
from msm_ray.placement.settings import WorkerSettings
from msm_ray.progress import Task
from msm_ray.rows.files import as_unicode
from msm_ray.rows.schemas import Row

if TYPE_CHECKING:
    from ray.data import Dataset

AGAIN = "What is written is safe; put it right and give the same command again."
LAST_ANSWERS_SECONDS = 30
"""How long answers that were on their way are waited for when nothing more is asked."""
FIRST_REFUSED = 20
"""So many different rows refused and none ever answered: the request is wrong, not the rows."""
FIRST_UNUSABLE = 60
"""So many different rows answered and not one of the answers of any use: the writer cannot do what is asked."""

Render = Callable[[Row], Row]
"""A row -> the columns that an engine needs for it (`engines`), besides those that it has. Sent to Ray's workers once."""


class Table(Protocol):
    """Rows to be answered. Each has `job` (the number of its table), `id`, `position`, `attempt`, sampling, and what it carries.

    lost: rows that the engine or the network lost, id -> error; refused: rows that the engine refused for their own sake.
    """

    lost: dict[str, str]
    refused: dict[str, str]

    @property
    def attempts(self) -> int:
        """Tries that a row gets."""

    @property
    def no_progress_minutes(self) -> float:
        """Without an answer for so long the asking stops."""

    @property
    def portion(self) -> int | None:
        """Rows that are asked for in one go, what came of them deciding how the next are asked; None: all at once."""

    @property
    def answered(self) -> bool:
        """Whether any row was answered already, before a kill perhaps."""

    @property
    def usable(self) -> int:
        """Rows that have a usable answer."""

    @property
    def enough(self) -> bool:
        """Whether what is there suffices, though rows are pending."""

    def pending(self) -> list[Row]:
        """Rows that have no usable answer yet, and tries left."""

    def engine(self, row: Row, round_: int) -> EngineSettings:
        """Who answers a row in a round (from 0): the engine's seed is another in each."""

    def render(self, asked: EngineSettings) -> Render:
        """How prompts are made for an engine."""

    def settle(self, row: Row) -> bool:
        """Take an answer, or the engine's refusal. Returns whether the row is settled now and was not before."""

    def tick(self) -> None:
        """Write what is due; called also while nothing comes."""

    def flush(self) -> None:
        """Write what waits."""

    def ask_again(self) -> str:
        """What can be done about refused rows."""


def ask(tables: Sequence[Table], workers: WorkerSettings, work: Task, spending: Spending | None = None) -> None:
    """Ask for every row of the tables until it is settled or its tries are used up.

    Raises MsmError where asking had to stop: OutOfMeans at once, others when the rest has been asked. What came is settled then.
    """
    rounds = max((table.attempts for table in tables), default=0)
    down: set[tuple[str, str, str | None]] = set()
    for round_ in range(rounds):
        groups: dict[EngineSettings, list[Row]] = {}
        for table in tables:
            for row in () if table.enough else table.pending():
                groups.setdefault(table.engine(row, round_), []).append(row)
        stopped: list[MsmError] = []
        for asked, rows in _portions(tables, groups):
            if (asked.engine, asked.model, asked.url) in down:
                continue  # an outage: its other rows would only meet it too
            try:
                _ask_one_engine(tables, asked, rows, workers, work, spending)
            except OutOfMeans:
                raise
            except MsmError as error:
                stopped.append(error)
                down.add((asked.engine, asked.model, asked.url))
        if stopped:
            raise stopped[0]
        if not groups or all(asked.engine in DETERMINISTIC for asked in groups):
            return


def _portions(
    tables: Sequence[Table], groups: Mapping[EngineSettings, list[Row]]
) -> Iterator[tuple[EngineSettings, list[Row]]]:
    """Rows by engine, in goes that no table wants smaller."""
    for asked, rows in groups.items():
        while rows := [row for row in rows if not tables[row["job"]].enough]:
            sizes = [size for number in {row["job"] for row in rows} if (size := tables[number].portion)]
            size = min(sizes, default=len(rows))
            yield asked, rows[:size]
            rows = rows[size:]


def _ask_one_engine(
    tables: Sequence[Table], asked: EngineSettings, rows: list[Row], workers: WorkerSettings, work: Task,
    spending: Spending | None,
) -> None:  # fmt: skip
    numbers = dict.fromkeys(row["job"] for row in rows)
    renders = {number: tables[number].render(asked) for number in numbers}  # once: it may read all that is written
    one = Round(tables, asked, work)
    if asked.engine == "replay":  # a lookup: no pipeline is worth its start
        one.collect(answered_here(asked, (row | renders[row["job"]](row) for row in rows)))
        return
    engine = build_engine(asked, workers, spending)
    minutes = max(tables[number].no_progress_minutes for number in renders)
    one.collect(stream_rows(engine(_dataset(rows, renders, asked.batch_size)), minutes, one.tick))


def _dataset(rows: list[Row], renders: Mapping[int, Render], size: int) -> Dataset:
    """The rows as a dataset of small blocks (one batch each, so that results stream), prompts rendered in Ray tasks."""
    import ray

    context = ray.put(dict(renders))  # a worker gets it once; a prompt exists only while its row is on the way

    def render(row: Row) -> Row:
        return row | ray.get(context)[row["job"]](row)

    blocks = [pa.Table.from_pylist(list(part)) for part in _batched(rows, size)]
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # Ray Data sets its own level when it is imported
    return ray.data.from_arrow(blocks).map(render)


def _batched(rows: list[Row], size: int) -> Iterator[tuple[Row, ...]]:
    iterator = iter(rows)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch


class _Enough(Exception):
    """What was on its way when the asking stopped has been waited for."""


class Round:
    """One engine asked once: settles what comes and notices when nothing more should be asked."""

    def __init__(self, tables: Sequence[Table], asked: EngineSettings, work: Task):
        self.tables, self.asked, self._work = tables, asked, work
        self.ledger = Ledger()
        self.since = 0.0
        self.refused: dict[str, Table] = {}
        self.unusable: dict[str, str] = {}
        self.answered = any(table.answered for table in tables)

    def collect(self, finished: Iterable[Row]) -> None:
        """Settle every row; on any failure what has come is flushed first. Raises MsmError where asking had to stop.

        Answers that were on their way are still taken then: they are paid for, and no new ones are asked.
        """
        try:
            for row in finished:
                self._take(row)
                self.tick()
        except _Enough:
            pass
        finally:
            self.ledger.close()
            for table in self.tables:
                table.flush()
        stopped = self.ledger.error("The engine", AGAIN) if self.ledger.stopped else self._hopeless()
        if stopped:
            raise stopped

    def tick(self) -> None:
        """Called about once a second and after every row."""
        for table in self.tables:
            table.tick()
        if self.ledger.stopped or self._hopeless():
            self.since = self.since or time.monotonic()
            if time.monotonic() - self.since > LAST_ANSWERS_SECONDS:
                raise _Enough

    def _take(self, row: Row) -> None:
        table = self.tables[row["job"]]
        if row["failure"]:
            table.lost.setdefault(row["id"], row["error"])
            self.ledger.failed(row["id"], row["error"], row["failure"], lambda: self._refuse(table, row))
        else:
            self.answered = True
            usable = table.usable
            row |= {"completion": as_unicode(row["completion"])}  # half an emoji is no text that could be written
            self._work.advance(table.settle(row))
            if table.usable == usable:
                self.unusable[row["id"]] = row["completion"]
            self.ledger.answered(row["id"])

    def _refuse(self, table: Table, row: Row) -> None:
        self.refused[row["id"]] = table
        self._work.advance(table.settle(row))

    def _hopeless(self) -> MsmError | None:
        return self._nothing_but_refusals() or self._nothing_usable()

    def _nothing_usable(self) -> MsmError | None:
        """Every answer so far was of no use: going on would pay for more of them."""
        if len(self.unusable) < FIRST_UNUSABLE or self.asked.engine in DETERMINISTIC:
            return None
        if any(table.usable for table in self.tables):
            return None
        said = next(iter(self.unusable.values()))
        return QualityGateError(
            f"{self.asked.generator} answered {len(self.unusable)} different rows and none of the answers can be used, for "
            f"example: {said[:300]!r}\nAll are kept. Take another writer, or look at what is asked and how (docs/method.md)."
        )

    def _nothing_but_refusals(self) -> MsmError | None:
        if self.answered or len(self.refused) < FIRST_REFUSED or self.asked.engine in DETERMINISTIC:
            return None
        key, table = next(iter(self.refused.items()))
        return QualityGateError(
            f"The engine refused {len(self.refused)} different rows and answered none, for example with: "
            f"{table.refused.get(key, '')}\n{table.ask_again()}"
        )
