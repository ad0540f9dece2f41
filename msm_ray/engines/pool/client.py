"""The end of a pool at whoever asks: rows go to the engine that has the fewest, and those of a dead engine elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

from msm_ray.engines import PROMPT_COLUMNS, Answer, failed
from msm_ray.engines.pool.failing import told
from msm_ray.errors import StageError
from msm_ray.failures import LOST

FEW, SOON, TOGETHER_SECONDS = 16, 0.005, 0.05
"""Rows that come within this time go to an engine in one message; soon, where it has few."""
MOST_ENGINES = 3
"""Engines that a row may see die. What kills every engine that gets it is lost, and the others go on: the last time rows that saw
all others die are asked one after the other, so that only the one that kills is lost."""


class _Gone(Exception):
    """The engine that had a row is there no more."""


class PoolClient:
    """An `Answerer`. each: rows that an engine should have at the same time; most: engines; options: of the chat template."""

    def __init__(self, keeper: Any, each: int, most: int, options: Mapping[str, Any]):
        self.keeper, self.each, self.most, self.options = keeper, each, most, dict(options)
        self.name = uuid.uuid4().hex
        self.lines: dict[str, _Line] = {}
        self.failed, self.asked = "", 0
        self.changed, self.alone = asyncio.Event(), asyncio.Lock()
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.watching = asyncio.get_running_loop().create_task(self._watch())

    @property
    def in_flight(self) -> int:
        """Rows for as many engines as may be: those that wait here are what more of them start for."""
        return self.each * self.most

    @property
    def told(self) -> str:
        """What there is to answer, in words."""
        return f"{len(self.lines)} of {self.most} engines up" if self.most > 1 else ""

    @property
    def can_answer(self) -> bool:
        """Whether an engine is up."""
        return bool(self.lines)

    async def ready(self) -> None:
        """Return when the first engine is up. Raises StageError with the engine's last words where none comes up."""
        self.asked += 1  # an engine is wanted, though no row is there yet
        while not self.lines and not self.failed:
            await self._next_change()
        self.asked -= 1
        if self.failed:
            raise StageError(self.failed)

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """The answer of an engine; LOST where engines die over it, or none is left."""
        asked = {name: row[name] for name in PROMPT_COLUMNS if name in row}
        why = ""
        self.asked += 1
        try:
            for deaths in range(MOST_ENGINES):
                async with self.alone if deaths == MOST_ENGINES - 1 else contextlib.nullcontext():
                    line = await self._line()
                    if line is None:
                        return failed(self.failed, LOST)
                    try:
                        return await line.ask(asked)
                    except _Gone as gone:
                        why = str(gone)
                    finally:
                        self.wake(1)
            return failed(f"{MOST_ENGINES} engines died over it; the last: {why}", LOST)
        finally:
            self.asked -= 1

    async def _line(self) -> _Line | None:
        """The engine that has the fewest rows, when one has room for another; None where there will be none."""
        while not self.failed:
            line = min(self.lines.values(), key=lambda line: len(line.asked), default=None)
            if line and len(line.asked) < self.each:
                return line
            turn = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            await turn
        return None

    def wake(self, many: int) -> None:
        """There may be room for so many rows that wait."""
        while many and self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                many -= 1

    async def close(self) -> None:
        """Stop listening. What engines still work on for this client, they let go."""
        self.watching.cancel()
        for line in self.lines.values():
            line.end()
        self.keeper.leaves.remote(self.name)

    async def _next_change(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    async def _watch(self) -> None:
        """Follow which engines there are."""
        known = -1
        try:
            while True:
                known, engines, self.failed = await self.keeper.engines.remote(self.name, self.asked, known)
                for name, engine in engines.items():
                    if name not in self.lines:
                        self.lines[name] = _Line(self, name, engine)
                        self.wake(self.each)
                for name in self.lines.keys() - engines.keys():
                    self.lines.pop(name)  # what it has it still gives; new rows go elsewhere
                self.changed.set()
                self.wake(len(self.waiting) if self.failed else 0)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the keeper is gone, and its engines with it
            self.failed = f"the engines are gone: {type(error).__name__}: {error}"
            self.changed.set()
            self.wake(len(self.waiting))

    def lost(self, name: str, why: str) -> None:
        """An engine that gives no answer any more."""
        self.lines.pop(name, None)
        self.keeper.died.remote(name, why)


class _Line:
    """One engine, as one client talks to it."""

    def __init__(self, client: PoolClient, name: str, engine: Any):
        self.client, self.name, self.engine = client, name, engine
        self.asked: dict[int, asyncio.Future[Answer]] = {}
        self.parcel: list[tuple[int, Mapping[str, Any]]] = []
        self.numbers = itertools.count()
        self.loop = asyncio.get_running_loop()
        self.listening: asyncio.Task[None] | None = None

    def ask(self, row: Mapping[str, Any]) -> asyncio.Future[Answer]:
        """The answer to come. Raises _Gone where the engine dies before it gives it."""
        number, future = next(self.numbers), self.loop.create_future()
        self.asked[number] = future
        if not self.parcel:
            self.loop.call_later(TOGETHER_SECONDS if len(self.asked) > FEW else SOON, self._send)
        self.parcel.append((number, row))
        if self.listening is None:
            self.listening = self.loop.create_task(self._listen())
        return future

    def _send(self) -> None:
        parcel, self.parcel = self.parcel, []
        self.engine.take.remote(self.client.name, self.client.options, parcel)

    async def _listen(self) -> None:
        """Hand answers over as they come, as long as there is one to come."""
        try:
            while self.asked:
                for number, answer in await self.engine.give.remote(self.client.name):
                    if (future := self.asked.pop(number, None)) and not future.done():
                        future.set_result(answer)
            self.listening = None
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever it is, this engine gives nothing any more
            self._lose(told(error))

    def _lose(self, why: str) -> None:
        self.client.lost(self.name, why)
        for future in self.asked.values():
            if not future.done():
                future.set_exception(_Gone(why))
        self.asked.clear()

    def end(self) -> None:
        """Listen no more."""
        if self.listening:
            self.listening.cancel()
