"""How far one piece of work is, how fast it goes and how long it will take. Plain Python."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WINDOW = 60.0
"""Seconds over which a rate is taken."""


class Pace:
    """A rate over the last minute, from (time, done) samples. What was done before the first change is in no rate.

    A count that falls (a training goes back to its checkpoint) starts the rate anew.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self._last: tuple[float, float] | None = None

    def note(self, now: float, done: float) -> None:
        """How much is done at a time (monotonic seconds)."""
        if self._last is not None and done < self._last[1]:
            self._samples.clear()
        elif self._last is not None and done > self._last[1] and not self._samples:
            self._samples.append(self._last)
        if self._samples:
            self._samples.append((now, done))
        self._last = (now, done)
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()

    @property
    def per_second(self) -> float | None:
        """None before anything has come."""
        if len(self._samples) < 2:
            return None
        (begin, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - begin) if end > begin and last > first else None


@dataclass
class Task:
    """A piece of work that is under way.

    label: what it is called, empty where it is the whole of the stages that run now. total: how many units are asked, those that
    were there before too; None where nobody knows. waits_for: what has to come before the first unit does. look: asked about once
    a second how much is done. now: what is being done at the moment, in words; at_work: the stages that are being made, where
    not all are.
    """

    label: str
    total: int | None
    unit: str
    done: int = 0
    waits_for: str = ""
    look: Callable[[Task], int] | None = None
    now: str = ""
    at_work: tuple[str, ...] | None = None
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._pace = Pace()
        self._found, self._moved = self.done, False

    def advance(self, n: int = 1) -> None:
        """So many units more are done."""
        self.done += n

    def found(self, n: int) -> None:
        """So many units more were there before."""
        self.done += n
        self._found += n
        self._pace = Pace()

    def tick(self, now: float) -> None:
        """Look how far it is; called about once a second."""
        if self.look is not None:
            self.done = self.look(self)
        self._moved = self._moved or self.done > self._found
        self._found = min(self._found, self.done)
        self._pace.note(now, self.done)

    @property
    def waits(self) -> str:
        """What is still waited for; empty when the first unit has come."""
        return "" if self._moved else self.waits_for

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def per_second(self) -> float | None:
        """Units a second, lately."""
        return self._pace.per_second

    @property
    def seconds_left(self) -> float | None:
        """At the rate of the last minute; None where that cannot be known."""
        if not self.per_second or self.total is None or self.done >= self.total:
            return None
        return (self.total - self.done) / self.per_second

    def numbers(self) -> dict[str, Any]:
        """For `status.json`."""
        return {
            "label": self.label,
            "done": self.done,
            "asked": self.total,
            "unit": self.unit,
            "per_second": self.per_second,
            "seconds_left": self.seconds_left,
            "waits_for": self.waits,
            "seconds": time.monotonic() - self.began,
            "now": self.now,
        }
