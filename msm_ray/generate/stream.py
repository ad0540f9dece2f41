"""Rows of a Ray Data pipeline as they are finished, with a watchdog: a pipeline that stands still ends with what it last said."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray import ray_private
from msm_ray.errors import StageError

if TYPE_CHECKING:
    from ray.data import Dataset

_END = object()
LOG_LINES, LOG_BYTES = 12, 60_000
LONGEST_END = 5.0
"""Seconds that a pipeline is given to come to its next block and end, when its reader is gone."""
ERROR_LINE = re.compile(r"\w*(Error|Exception): ")


def stream_rows(dataset: Dataset, no_progress_minutes: float, tick: Callable[[], None]) -> Generator[dict[str, Any]]:
    """Yield finished rows, block by block; `tick` is called about once a second while none come.

    Raises StageError after `no_progress_minutes` without a row, or when the pipeline fails; the message ends with the
    engine's last log lines.
    """
    arrived: queue.Queue[Any] = queue.Queue(maxsize=64)
    stopped = threading.Event()
    thread = threading.Thread(target=_pump, args=(dataset, arrived, stopped), daemon=True, name="generation-stream")
    thread.start()
    last = time.monotonic()
    try:
        while True:
            try:
                item = arrived.get(timeout=1)
            except queue.Empty:
                tick()
                if time.monotonic() - last > no_progress_minutes * 60:
                    raise StageError(
                        f"Generation made no progress for {no_progress_minutes:g} minutes and was stopped; what is written is "
                        f"safe, the same command goes on.\n{last_log_lines()}"
                    ) from None
                continue
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise StageError(f"Generation failed: {_cause(item)}\n{last_log_lines()}") from item
            last = time.monotonic()
            yield from item
    finally:
        stopped.set()
        # Ray's core ends the whole process, with code 1, where a thread asks it for something after it was shut down.
        thread.join(timeout=LONGEST_END)


def _pump(dataset: Dataset, arrived: queue.Queue[Any], stopped: threading.Event) -> None:
    """Run the pipeline and hand its blocks over; ends early when the reader is gone."""

    def hand_over(item: Any) -> bool:
        while not stopped.is_set():
            try:
                arrived.put(item, timeout=1)
                return True
            except queue.Full:
                continue
        return False

    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            if not hand_over(batch.to_pylist()):  # type: ignore[union-attr]
                return
        hand_over(_END)
    except BaseException as error:
        hand_over(error)


def _cause(error: BaseException | None) -> str:
    """The innermost message there is: Ray wraps what a worker raised several times, some wrappings without a message."""
    found = type(error).__name__
    while error is not None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        found = lines[-1] if lines else found
        error = error.__cause__
    return found


def last_log_lines() -> str:
    """What an engine said last on this machine: its errors where it logged some, else its last lines; "" without a log."""
    folder = ray_private.log_folder()
    logs = [path for path in folder.glob("worker-*") if path.stat().st_size] if folder else []
    if not logs:
        return ""
    newest = sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True)
    tails = [(path.name, _tail(path)) for path in newest[:20]]
    name, tail = next((each for each in tails if "EngineCore" in each[1]), tails[0])
    lines = tail.splitlines()
    errors = [line for line in lines if ERROR_LINE.search(line)]
    return f"Last lines of {name}:\n" + "\n".join((errors or lines)[-LOG_LINES:])


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        return file.read().decode("utf-8", "replace")
