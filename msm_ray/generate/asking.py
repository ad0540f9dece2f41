"""The one way to ask: rows -> prompts -> engine -> answers that are settled one by one.

Whoever has rows to be answered holds them in a **table** (`askable.py`; documents: `document_rows.py`; calls:
`calls/table.py`), which says which are still to be asked, who answers them, and what an answer is worth. As many rows as the
engine wants are with it at any time, whatever table they are from; one that takes long holds nobody up, and one whose answer
can't be used is asked again at once, up to the table's attempts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from msm_ray.engines import DETERMINISTIC, Answer, Answerer, EngineSettings
from msm_ray.engines.offline import composed_answer
from msm_ray.engines.open import Engines
from msm_ray.engines.replay import answered_here
from msm_ray.errors import MsmError, OutOfMeans, StageError
from msm_ray.failures import Ledger
from msm_ray.generate.askable import Render, Table
from msm_ray.generate.prospects import Prospects
from msm_ray.generate.pulse import Pulse
from msm_ray.generate.seats import Seats, stands_still
from msm_ray.progress import Task
from msm_ray.rows.files import as_unicode
from msm_ray.rows.schemas import Row

AGAIN = "What is written is safe; put it right and give the same command again."
LAST_ANSWERS_SECONDS = 120
"""How long answers that were on their way are waited for when nothing more is asked: they are paid for, and may be long."""

Told = tuple[Row, Answer | BaseException] | None
"""A row and its answer, or what the engine raised, which it never should. None: there is a seat at the engine."""
BEGAN = itertools.count()


def ask(tables: Sequence[Table], engines: Engines, work: Task) -> None:
    """Ask for every row of the tables until it is settled or its tries are used up.

    Raises MsmError where asking had to stop: OutOfMeans at once, others when the rest has been asked. What came is settled then.
    """
    groups: dict[EngineSettings, list[Row]] = {}
    for table in tables:
        for row in () if table.enough else table.pending():
            groups.setdefault(table.engine(row), []).append(row)
    stopped: list[MsmError] = []
    down: set[tuple[str, str, str | None]] = set()
    for asked, rows in groups.items():
        who = address(asked)
        if who in down:
            continue  # an outage: its other rows would only meet it too
        try:
            _ask_one_engine(Asking(tables, asked, rows, work), engines)
        except OutOfMeans:
            raise
        except MsmError as error:
            stopped.append(error)
            down.add(who)
    if stopped:
        raise stopped[0]


def address(asked: EngineSettings) -> tuple[str, str, str | None]:
    """Who is asked, however: where it is down for some, it is for all."""
    return asked.engine, asked.model, asked.url


def _ask_one_engine(asking: Asking, engines: Engines) -> None:
    """On any failure what has come is flushed first."""
    asked = asking.asked
    try:
        if asked.engine in DETERMINISTIC:  # a lookup: no engine is worth its start
            answered = (
                answered_here(asked, asking.all()) if asked.engine == "replay" else map(composed_answer, asking.all())
            )
            asking.look_up(answered)
        else:
            opener = engines.opener(asked)
            asyncio.run(asking.through(opener))
    finally:
        asking.close()
    asking.refuse_to_go_on()


class Asking:
    """Rows for one engine: which are with it, what comes of them, and whether anything more should be asked."""

    def __init__(self, tables: Sequence[Table], asked: EngineSettings, rows: Sequence[Row], work: Task):
        self.tables, self.asked, self._work = tables, asked, work
        self.waiting: dict[int, deque[Row]] = {}
        self.later: dict[int, deque[Row]] = {}
        for row in rows:
            self.waiting.setdefault(row["job"], deque()).append(row)
        self.renders: dict[int, Render] = {}
        self.begun: dict[int, int] = {}
        self.in_flight: dict[int, int] = {}
        self.times: dict[tuple[int, str], int] = {}
        self.ledger = Ledger()
        self.pulse = Pulse(work, asked)
        self.since = 0.0
        self.began = next(BEGAN)
        self._prospects = Prospects(tables, asked)

    def all(self) -> Iterator[Row]:
        """Every row once, with its prompt."""
        while row := self._next():
            yield row

    def look_up(self, answered: Iterator[Row]) -> None:
        """Settle rows that are answered here. None is asked twice: the same would come."""
        for row in answered:
            self.in_flight[row["job"]] -= 1
            self._settle(row, again=False)
            self.tick()

    async def through(self, opener: Callable[[], Answerer]) -> None:
        """Ask an engine that is this asking's alone (`by`)."""
        engine = opener()
        try:
            await engine.ready()
            await self.by(engine, Seats(engine))
        finally:
            await engine.close()

    async def by(self, engine: Answerer, seats: Seats) -> None:
        """Ask an engine that is ready, until there is nothing more to ask or no sense in it.

        Answers that were on their way are still taken then: they are paid for. Raises StageError after the tables'
        `no_progress_minutes` in which the engine answered nobody; the clock runs only while it can answer.
        """
        finished: asyncio.Queue[Told] = asyncio.Queue()
        tasks: set[asyncio.Task[None]] = set()

        async def answer(row: Row) -> None:
            try:
                finished.put_nowait((row, await engine.answer(row)))
            except BaseException as error:  # of an engine, which raises none; else it would be waited for
                finished.put_nowait((row, error))

        seats.note()
        self.pulse.engines = lambda: str(getattr(engine, "told", ""))
        try:
            while True:
                for row in self._rows_to_ask(seats, lambda: finished.put_nowait(None)):
                    task = asyncio.get_running_loop().create_task(answer(row))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                if not self._unsettled() and not self._more_after_all():
                    return
                self._take_all(await _some(finished), seats)
                if not getattr(engine, "can_answer", True):
                    seats.note()  # its weights are being loaded, again perhaps
                self.tick()
                if self._waited_long_enough(seats):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _ in range(self._unsettled()):
                seats.free()
            seats.leave(self.began)

    def _rows_to_ask(self, seats: Seats, wake: Callable[[], None]) -> Iterator[Row]:
        """Rows to ask now, each with its prompt, as long as there are seats."""
        while not self._stopped() and seats.take(self.began, wake):
            row = self._next()
            if row is None:
                seats.free()
                break
            yield row
        seats.pass_on()

    def _take_all(self, came: Sequence[Told], seats: Seats) -> None:
        for each in came:
            if each is None:
                continue
            row, told = each
            if isinstance(told, BaseException):
                raise told
            seats.note()
            self._take(row, told)
            seats.free()

    def _next(self) -> Row | None:
        """The next row with its prompt; None where none should be asked for now."""
        for queues in (self.waiting, self.later):
            for number, rows in queues.items():
                table = self.tables[number]
                if rows and not table.enough and table.room(self.in_flight.get(number, 0)):
                    self.in_flight[number] = self.in_flight.get(number, 0) + 1
                    row = rows.popleft()
                    return row | self._render(number)(row)
        return None

    def _render(self, number: int) -> Render:
        """How a table's prompts are made now: after each portion by what has come of the rows before."""
        begun, portion = self.begun.get(number, 0), self.tables[number].portion
        if number not in self.renders or (portion and begun and begun % portion == 0):
            self.renders[number] = self.tables[number].render(self.asked)
        self.begun[number] = begun + 1
        return self.renders[number]

    def _take(self, row: Row, told: Answer) -> None:
        self.pulse.note(told["num_input_tokens"], told["num_generated_tokens"])
        self._settle(row | told, again=True)
        self.in_flight[row["job"]] -= 1

    def _settle(self, row: Row, again: bool) -> None:
        table = self.tables[row["job"]]
        if row["failure"]:
            table.lost.setdefault(row["id"], row["error"])
            self.ledger.failed(row["id"], row["error"], row["failure"], lambda: self._refuse(table, row, again))
            if row["id"] in self.ledger.lost and again:
                self._ask_again(table, row, self.later)
            return
        before = table.usable
        row |= {"completion": as_unicode(row["completion"])}  # half an emoji is no text that could be written
        self._work.advance(table.settle(row))
        usable = table.usable != before
        self._prospects.answered(row, usable)
        if not usable and again:
            self._ask_again(table, row, self.waiting)
        self.ledger.answered(row["id"])

    def _refuse(self, table: Table, row: Row, again: bool) -> None:
        self._prospects.refused(table, row)
        self._work.advance(table.settle(row))
        if again:
            self._ask_again(table, row, self.later)

    def _ask_again(self, table: Table, row: Row, queues: dict[int, deque[Row]]) -> None:
        """Back into the stream, at most as often as the table says: what was lost counts here, and not in the next run."""
        key = (row["job"], row["id"])
        self.times[key] = self.times.get(key, 0) + 1
        if self.times[key] < table.attempts and (next_ := table.again(row)):
            rows = queues.setdefault(row["job"], deque())
            rows.appendleft(next_) if queues is self.waiting else rows.append(next_)

    def _more_after_all(self) -> bool:
        """When all have come: what was doubtful was refused for its own sake, and may be asked again."""
        if self._stopped():
            return False
        self.ledger.close()
        queues = (*self.waiting.items(), *self.later.items())
        return any(rows and not self.tables[number].enough for number, rows in queues)

    def _unsettled(self) -> int:
        return sum(self.in_flight.values())

    def _stopped(self) -> bool:
        return self.ledger.stopped or self.hopeless() is not None

    def tick(self) -> None:
        """Called about once a second and after every few rows."""
        self.pulse.tick()
        for table in self.tables:
            table.tick()

    def _waited_long_enough(self, seats: Seats) -> bool:
        """Whether the last answers have been waited for, when nothing more is asked. Raises StageError where none comes."""
        now = time.monotonic()
        if self._stopped():
            self.since = self.since or now
            return now - self.since > LAST_ANSWERS_SECONDS
        minutes = max(self.tables[number].no_progress_minutes for number in self.waiting)
        if now - seats.heard > minutes * 60:
            raise StageError(stands_still(self.asked, minutes, self.pulse.engines()))
        return False

    def close(self) -> None:
        """Nothing more comes: what has come is written."""
        self.ledger.close()
        for table in self.tables:
            table.flush()

    def refuse_to_go_on(self) -> None:
        """Raise MsmError where asking had to stop."""
        stopped = self.ledger.error("The engine", AGAIN) if self.ledger.stopped else self.hopeless()
        if stopped:
            raise stopped

    def hopeless(self) -> MsmError | None:
        """Why asking for more makes no sense: nothing that came was of any use."""
        return self._prospects.hopeless()


async def _some(finished: asyncio.Queue[Told]) -> list[Told]:
    """What has been answered; waits for something, though a second at most."""
    try:
        came = [await asyncio.wait_for(finished.get(), 1)]
    except TimeoutError:
        return []
    while not finished.empty():
        came.append(finished.get_nowait())
    return came
