"""Work that may hang in somebody else's code, so that nothing of ours does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What some work gives, or the error that it raised; a TimeoutError where it takes longer."""
    result: list[Any] = []

    def body() -> None:
        try:
            result.append(work())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=body, daemon=True, name="wandb")
    thread.start()
    thread.join(seconds)
    return result[0] if result else TimeoutError(f"no answer within {seconds:.0f} s")


class InOrder:
    """Does what it is given in another thread, one after the other; nobody waits but who calls `wait`."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="wandb").start()

    def do(self, work: Callable[[], None]) -> None:
        """Put some work, which must not raise, at the end."""
        self._todo.put(work)

    def wait(self, seconds: float) -> bool:
        """Whether all that was given before is done within some seconds."""
        done = threading.Event()
        self._todo.put(done.set)
        return done.wait(seconds)

    def _run(self) -> None:
        while True:
            self._todo.get()()
