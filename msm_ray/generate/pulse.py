"""What is told of writers while they write, beside how far it is: tokens a second, what they cost so far, engines that are up."""

from __future__ import annotations

import time
from collections.abc import Callable

from msm_ray.engines import EngineSettings
from msm_ray.engines.spending import dollars
from msm_ray.progress import Task
from msm_ray.progress.work import Pace

SECONDS = 2.0
"""Between looks."""


class Pulse:
    """Told to a task in `now`. settings: of the engine that is asked, for its prices; engines: in words, asked now and then."""

    def __init__(self, work: Task, settings: EngineSettings | None, engines: Callable[[], str] = lambda: ""):
        self.work, self.settings, self.engines = work, settings, engines
        self.tokens, self.spent = 0, 0.0
        self._pace, self._looked = Pace(), 0.0

    def note(self, read: int, written: int) -> None:
        """An answer's tokens."""
        self.tokens += written
        if self.settings:
            self.spent += dollars(self.settings, read, written)

    def tick(self) -> None:
        """Tell it, if it is time."""
        now = time.monotonic()
        if now - self._looked < SECONDS:
            return
        self._looked = now
        self._pace.note(now, self.tokens)
        parts = [f"{self._pace.per_second:,.0f} tokens/s"] if self._pace.per_second else []
        parts += [f"${self.spent:,.2f} so far"] if self.spent else []
        parts += [said] if (said := self.engines()) else []
        self.work.now = ", ".join(parts)
