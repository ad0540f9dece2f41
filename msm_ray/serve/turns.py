"""Who may use an engine that holds the weights of one arm at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Turns:
    """Requests for one arm run together; those for another wait until these are done and the weights are swapped.

    Arms come in the order in which they were first asked for. While another arm waits, new requests for the current
    one queue behind it, so that none starves. `swap(weights)` is awaited with nothing in flight. When it raises, every
    request that waited for this turn gets the error, and the next turn swaps again. One event loop, no threads.
    """

    def __init__(self, first: str, swap: Callable[[str], Awaitable[None]]) -> None:
        self._current: str | None = first
        self._swap = swap
        self._in_flight = 0
        self._line: dict[str, list[asyncio.Future[None]]] = {}
        self._turning: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def of(self, weights: str) -> AsyncIterator[None]:
        """Hold the engine with these weights; many may hold the same weights at once."""
        await self._enter(weights)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, weights: str) -> None:
        if weights == self._current and not self._line and self._turning is None:
            self._in_flight += 1
            return
        admitted = asyncio.get_running_loop().create_future()
        self._line.setdefault(weights, []).append(admitted)
        self._advance()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
                self._leave()  # admitted and cancelled in the same moment: it was counted
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        self._advance()

    def _advance(self) -> None:
        if self._line and self._in_flight == 0 and self._turning is None:
            self._turning = asyncio.create_task(self._turn())

    async def _turn(self) -> None:
        weights = next(iter(self._line))
        error: Exception | None = None
        try:
            if weights != self._current:
                self._current = None
                await self._swap(weights)
                self._current = weights
        except Exception as problem:  # handed to those who asked; the engine itself goes on
            error = problem
        finally:
            self._turning = None
        self._admit(self._line.pop(weights), error)
        self._advance()

    def _admit(self, group: list[asyncio.Future[None]], error: Exception | None) -> None:
        for admitted in group:
            if admitted.done():
                continue
            if error is not None:
                admitted.set_exception(error)
            else:
                self._in_flight += 1
                admitted.set_result(None)
