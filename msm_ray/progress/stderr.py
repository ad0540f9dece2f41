"""Standard error of a run through a filter, at the descriptor: what C++ writes never passes through Python.

The filter is a process of its own and not in our process group: a Ctrl-C is not its business, and the last words of a run that
aborts or is killed come through. Nothing else changes: exit codes, `2>&1`, `2>file` are as without it.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msm_ray.progress import stderr_filter

LONGEST_DRAIN = 3.0


@dataclass
class _Sieve:
    """A filter at work. own: what standard error was; kept: our hold on the pipe, or writing would fail if the filter died."""

    process: subprocess.Popen[bytes]
    own: int
    kept: int
    ack: int
    given_back: bool = False


_at_work: list[_Sieve] = []


@contextlib.contextmanager
def sifted(log: Path, above: Callable[[str], None] | None) -> Iterator[None]:
    """Inside, standard error is sifted. log: the file that keeps all of it. above: prints a line where bars are drawn.

    Where no filter can be started, nothing is sifted.
    """
    try:
        sieve, printing = _start(log, above)
    except OSError:
        yield
        return
    reader = threading.Thread(target=printing.run, daemon=True, name="stderr") if printing else None
    if reader:
        reader.start()
    _at_work.append(sieve)
    try:
        yield
    finally:
        _at_work.remove(sieve)
        _drain(sieve)
        _give_back(sieve)
        with contextlib.suppress(subprocess.TimeoutExpired):
            sieve.process.wait(timeout=0.5)  # else a process that we leave behind still writes to it; it ends with that
        if reader:
            reader.join(timeout=0.5)


@dataclass
class _Printing:
    """Prints what the filter hands back. count: a file in memory with the bytes that are printed, so that none is lost."""

    back: int
    count: int
    above: Callable[[str], None]

    def run(self) -> None:
        """Until the filter ends."""
        printed = 0
        with open(self.back, "rb") as lines:  # noqa: PTH123  a descriptor
            for line in lines:
                if text := line.decode("utf-8", "replace").strip("\r\n"):
                    self.above(text)
                printed += len(line)
                os.pwrite(self.count, printed.to_bytes(8, "little"), 0)
        os.close(self.count)


def _start(log: Path, above: Callable[[str], None] | None) -> tuple[_Sieve, _Printing | None]:
    sys.stderr.flush()
    own = os.dup(2)
    kept, into = os.pipe()
    ack, acked = os.pipe()
    printing, forth = None, os.dup(own)
    if above:
        os.close(forth)
        back, forth = os.pipe()
        printing = _Printing(back, os.memfd_create("printed"), above)
    count = [printing.count] if printing else []
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", stderr_filter.__file__, str(log), str(acked), *map(str, count)],
            stdin=kept, stdout=forth, stderr=own, pass_fds=[acked, *count], start_new_session=True, cwd="/",
        )  # fmt: skip
        os.dup2(into, 2)
    except OSError:
        for each in (own, kept, ack, *count, *([printing.back] if printing else [])):
            os.close(each)
        raise
    finally:
        for each in (into, acked, forth):
            os.close(each)
    return _Sieve(process, own, kept, ack), printing


def _drain(sieve: _Sieve) -> None:
    """Wait until all that was written is shown, so that what follows stands after it."""
    if sieve.given_back or sieve.process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        sys.stderr.flush()
        os.write(2, stderr_filter.DRAINED)
        select.select([sieve.ack], [], [], LONGEST_DRAIN)


def _give_back(sieve: _Sieve) -> None:
    if not sieve.given_back:
        sieve.given_back = True
        os.dup2(sieve.own, 2)
        for each in (sieve.own, sieve.kept, sieve.ack):
            os.close(each)


def give_back() -> None:
    """Standard error is what it was, at once: for a process that ends hard."""
    for sieve in _at_work:
        _give_back(sieve)


def look_after() -> None:
    """A filter that was killed is done without: writing to a pipe that nobody reads would stop the run."""
    for sieve in list(_at_work):
        if sieve.process.poll() is not None:
            _give_back(sieve)
