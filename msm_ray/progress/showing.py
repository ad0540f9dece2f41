"""A run is shown once a second while it goes on: to a terminal as bars, elsewhere as a line every 10 s."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msm_ray.progress import display, libraries, stderr, words
from msm_ray.progress.reporter import Reporter, telling

TICK, FIRST_LINE, LINE_EVERY = 1.0, 5.0, 10.0
"""Seconds between looks, into a stage before its first line, between lines."""


@contextlib.contextmanager
def reporting(reporter: Reporter, logs: Path, say: Callable[[str], None], *, bars: bool = True) -> Iterator[Reporter]:
    """Inside, the run is shown, and what libraries write to standard error is sifted and kept below `logs`.

    say: how a plain line is printed. bars: whether a terminal shows bars in place of lines; not where a person types meanwhile.
    How the run ended is noted: done, interrupted, or failed with the error's message.
    """
    libraries.settle()
    screen = display.open_screen() if bars else None
    try:
        with (
            telling(reporter),
            stderr.sifted(logs / "stderr.log", screen.above if screen else None),
            _ticking(reporter, screen, say),
        ):
            yield reporter
    except (KeyboardInterrupt, SystemExit):
        reporter.ended("interrupted", 130)
        raise
    except BaseException as error:
        reporter.ended("failed", getattr(error, "exit_code", 1), str(error) or type(error).__name__)
        raise
    else:
        reporter.ended("done", 0)


@contextlib.contextmanager
def _ticking(reporter: Reporter, screen: display.Screen | None, say: Callable[[str], None]) -> Iterator[None]:
    ended, lines = threading.Event(), _Lines(say)

    def tick() -> None:
        while not ended.wait(TICK):
            now = time.monotonic()
            reporter.tick(now)
            stderr.look_after()
            content = reporter.content()
            if screen:
                screen.show(content)
            else:
                lines.show(content, now)

    thread = threading.Thread(target=tick, daemon=True, name="progress")
    with screen or contextlib.nullcontext():
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=5)


class _Lines:
    """A line when a stage has taken 5 s, and one every 10 s."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._told = say, 0.0

    def show(self, content: Mapping[str, Any], now: float) -> None:
        running = content["running"]
        if running is None or now - self._told < LINE_EVERY:
            return
        if max([running["seconds"], *(work["seconds"] for work in running["tasks"])]) < FIRST_LINE:
            return
        self._told = now
        self._say("; ".join(part for part in (words.running(running), words.altogether(content)) if part))
