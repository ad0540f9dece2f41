"""Seats at an engine that many ask at the same time: it has as many rows as it wants, and who began first is served first."""

from __future__ import annotations

import time
from collections.abc import Callable

from msm_ray.engines import Answerer, EngineSettings
from msm_ray.generate.stream import last_log_lines


class Seats:
    """Of one engine in one event loop. A row takes one before its prompt is made, and leaves it when its answer is safe.

    heard: when the engine last answered anybody, or was still starting; where it answers nobody it stands still, for whoever
    waits for a seat is not waited for.
    """

    def __init__(self, engine: Answerer):
        self._engine, self._taken = engine, 0
        self._waiting: dict[int, Callable[[], None]] = {}
        self.heard = time.monotonic()

    def note(self) -> None:
        """The engine has answered, or can't yet."""
        self.heard = time.monotonic()

    def take(self, began: int, wake: Callable[[], None]) -> bool:
        """Whether another row may be asked; else `wake` is called when one may be. began: the lower, the earlier."""
        if self._taken < self._engine.in_flight:
            self._taken += 1
            return True
        self._waiting[began] = wake
        return False

    def free(self) -> None:
        """A seat is free. Who had it may take it again before others are woken (`pass_on`)."""
        self._taken -= 1

    def pass_on(self) -> None:
        """Wake who waits and began first, if there is room. Called by everybody who has taken what it wanted."""
        if self._waiting and self._taken < self._engine.in_flight:
            self._waiting.pop(min(self._waiting))()

    def leave(self, began: int) -> None:
        """Who began then asks no more."""
        self._waiting.pop(began, None)
        self.pass_on()


def stands_still(asked: EngineSettings, minutes: float, told: str) -> str:
    """Who has answered nothing for so long, which settings say how long that may be, and an engine's last lines.

    told: what it says of itself.
    """
    limit = f"; a request may take `request_seconds`, {asked.request_seconds:g} s" if asked.url else ""
    log = "" if asked.url else f"\n{last_log_lines()}"
    return (
        f"Generation made no progress for {minutes:g} minutes ({asked.section}.no_progress_minutes) and was stopped: "
        f"{asked.url or asked.generator} has answered nothing{f' ({told})' if told else ''}{limit}. "
        f"What is written is safe, the same command goes on.{log}"
    )
