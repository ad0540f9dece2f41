"""One run's reporter: it knows every stage's state, asks running tasks how far they are, and writes it to `<root>/status.json`.

The file is replaced whole, at most once a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil

from msm_ray.progress.work import Task

STATUS = "status.json"
HEARTBEAT = 5.0
"""Seconds between status files where nothing changes."""
Row = TypeVar("Row")


class Outlook(Protocol):
    """How long what is left takes. `forecast.Outlook` is one."""

    def seconds_left(self, made: Mapping[str, float], elapsed: float) -> float | None:
        """made: first kind of a group -> the share of it that is made; elapsed: seconds of this run."""


class Reporter:
    """What is told about a run. Every method may be called from any thread."""

    def __init__(self, root: Path | None, about: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]) -> None:
        """root: where the status file lies; None: there is none, for what makes nothing (`msm serve`).

        about: what else stands in it (experiment, command). stages: key -> {"state": done or waiting, ...}.
        """
        self._file = root / STATUS if root else None
        self._about = {**about, **_process(), "started": _now()}
        self._stages = {key: dict(stage) for key, stage in stages.items()}
        self._began = time.monotonic()
        self._tasks: list[Task] = []
        self._group: tuple[str, tuple[str, ...], float] | None = None
        self._made: dict[str, float] = {}
        self._outlook: Outlook | None = None
        self._state, self._why = "running", ""
        self._exit_code: int | None = None
        self._written, self._text = 0.0, ""
        self._lock = threading.RLock()

    def expect(self, outlook: Outlook | None) -> None:
        """What the time left of the whole run is taken from."""
        self._outlook = outlook

    @contextlib.contextmanager
    def group(self, kinds: str, stages: Mapping[str, Path]) -> Iterator[None]:
        """Inside, some stages are made together. kinds: as lines call it (`midtrain/sft`); stages: key -> folder."""
        with self._lock:
            self._group = (kinds, tuple(stages), time.monotonic())
            for key, folder in stages.items():
                self._stages.setdefault(key, {})
                self._stages[key] = {"state": "begun", "folder": f"{folder.parent.name}/{folder.name}"}
        try:
            yield
        finally:
            with self._lock:
                self._made[kinds.partition("/")[0]] = 1.0
                self._group = None

    def working_on(self, key: str) -> None:
        """The one stage of the group that is being made now."""
        with self._lock:
            for other, stage in self._stages.items():
                if stage["state"] == "running":
                    self._stages[other] = {**stage, "state": "begun"}
            self._mark(key, "running")

    def finished(self, key: str, folder: Path) -> None:
        """A stage is committed."""
        self._mark(key, "done", folder=f"{folder.parent.name}/{folder.name}")

    def failed(self, key: str, why: str) -> None:
        """A stage failed."""
        self._mark(key, "failed", why=why)

    def _mark(self, key: str, state: str, **more: str) -> None:
        with self._lock:
            self._stages[key] = {**self._stages.get(key, {}), "state": state, **more}

    def ended(self, state: str, exit_code: int, why: str = "") -> None:
        """The run is over: done, failed or interrupted. exit_code: what the command will end with."""
        with self._lock:
            self._state, self._why, self._exit_code = state, why, exit_code
            self._tasks.clear()
            self._write(time.monotonic())

    @contextlib.contextmanager
    def under_way(self, work: Task) -> Iterator[Task]:
        """Inside, a task is shown."""
        with self._lock:
            self._tasks.append(work)
        try:
            yield work
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._tasks.remove(work)

    def tick(self, now: float) -> None:
        """Ask every task how far it is, and write the status file where something changed."""
        with self._lock:
            tasks = list(self._tasks)
        for work in tasks:
            with contextlib.suppress(OSError, ValueError, KeyError):  # a file that is being written or wiped just now
                work.tick(now)
        with self._lock:
            self._write(now)

    def content(self) -> dict[str, Any]:
        """What stands in the status file."""
        with self._lock:
            return {
                **self._about,
                "state": self._state,
                "why": self._why,
                "exit_code": self._exit_code,
                "seconds": time.monotonic() - self._began,
                "seconds_left": self._seconds_left(),
                "running": self._running(),
                "stages": self._shown_stages(),
            }

    def _running(self) -> dict[str, Any] | None:
        tasks = [work.numbers() for work in self._tasks]
        if self._group is None and not tasks:
            return None
        kinds, keys, began = self._group or ("", (), time.monotonic())
        made = sum(self._stages[key]["state"] == "done" for key in keys)
        seconds = time.monotonic() - began
        return {"kinds": kinds, "stages": len(keys), "made": made, "seconds": seconds, "tasks": tasks}

    def _shown_stages(self) -> dict[str, dict[str, Any]]:
        """The stages as they are: of those that were begun, the ones that are at work are running."""
        at_work = {key for work in self._tasks for key in work.at_work or ()}
        everywhere = any(not work.label and work.at_work is None for work in self._tasks)
        return {
            key: {**stage, "state": "running"}
            if stage["state"] == "begun" and (everywhere or key in at_work)
            else {**stage, "state": "waiting"}
            if stage["state"] == "begun"
            else stage
            for key, stage in self._stages.items()
        }

    def _share(self) -> float:
        """How much of the running group is made, 0 to 1."""
        assert self._group is not None
        whole = [work for work in self._tasks if not work.label and work.total]
        if whole:
            return whole[-1].share
        _, keys, _ = self._group
        inner = self._tasks[-1].share if self._tasks else 0.0
        return min(1.0, (sum(self._stages[key]["state"] == "done" for key in keys) + inner) / max(1, len(keys)))

    def _seconds_left(self) -> float | None:
        if self._outlook is None or self._state != "running":
            return None
        running = {self._group[0].partition("/")[0]: self._share()} if self._group else {}
        return self._outlook.seconds_left({**self._made, **running}, time.monotonic() - self._began)

    def _write(self, now: float) -> None:
        if self._file is None:
            return
        content = self.content()
        clock = {"seconds", "seconds_left"}
        text = json.dumps({key: value for key, value in content.items() if key not in clock}, sort_keys=True)
        in_bucket = not isinstance(self._file, Path)  # where each file is a request that is paid for
        soon = now - self._written < HEARTBEAT and self._state == "running"
        if soon and (in_bucket or text == self._text):
            return
        self._text, self._written = text, now
        said = json.dumps({**content, "updated": _now()}, indent=1)
        # No room, perhaps, or no way to a bucket: what fails on that will say so; a status never stops a run.
        with contextlib.suppress(Exception if in_bucket else OSError):
            if in_bucket:
                self._file.write_text(said, encoding="utf-8")
                return
            temporary = self._file.with_name(f".{STATUS}.{os.getpid()}.tmp")
            temporary.write_text(said, encoding="utf-8")
            temporary.replace(self._file)  # not synced: after a power cut, the artifacts say what is there


_reporters: list[Reporter] = []


def current() -> Reporter | None:
    """Whoever reports in this process."""
    return _reporters[-1] if _reporters else None


@contextlib.contextmanager
def telling(reporter: Reporter) -> Iterator[None]:
    """Inside, `task` and its like tell this reporter."""
    _reporters.append(reporter)
    try:
        yield
    finally:
        _reporters.remove(reporter)


@contextlib.contextmanager
def task(
    label: str,
    total: int | None,
    unit: str,
    *,
    done: int = 0,
    waits_for: str = "",
    look: Callable[[Task], int] | None = None,
) -> Iterator[Task]:
    """Inside, a piece of work is under way and shown (see `Task` for the arguments); without a reporter, nothing is shown."""
    work = Task(label, total, unit, done, waits_for, look)
    reporter = current()
    with reporter.under_way(work) if reporter else contextlib.nullcontext():
        yield work


@contextlib.contextmanager
def waiting(what: str, for_what: str) -> Iterator[Task]:
    """Inside, something is waited for, and it is said every 10 s what and for how long.

    `with waiting("server", "48 arms to load") as wait:`; `wait.now = "2 of 3 replicas are up"` says how it stands.
    """
    with task(what, None, "", waits_for=for_what) as work:
        yield work


def over(rows: Sequence[Row], label: str, unit: str) -> Iterable[Row]:
    """The rows one by one, shown as a task while they are gone through."""
    with task(label, len(rows), unit) as work:
        for row in rows:
            yield row
            work.advance()


def _process() -> dict[str, Any]:
    me = psutil.Process()
    return {"host": platform.node(), "pid": me.pid, "process_started": me.create_time()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
