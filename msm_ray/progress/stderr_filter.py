"""The filter that standard error of a run goes through: a process of its own, so that a run's last words outlive the run.

    python stderr_filter.py LOG ACK [--through]

Reads standard input to its end, writes every line to LOG and those that mean something on: to standard output (with `--through`:
to the run, which prints them above its bars; what a run that died had not read yet goes to standard error), else to standard
error. A line `DRAINED` is answered by a byte to the descriptor ACK: all before it is written. Imports nothing of ours: it has to
start in milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import sys
import termios
from pathlib import Path

DRAINED = b"\x1emsm: drained\n"
KEPT_BYTES = 65_536
NOISE = {
    "Ray Data restarts its actors and keeps their arguments alive itself": re.compile(
        rb"core_worker\.cc:\d+: Actor with class name: .* has constructor arguments in the object store and max_restarts > 0"
    ),
    "more processes than cores are what small shares of a CPU are for": re.compile(
        rb"\(raylet\) WARNING: \d+ PYTHON worker processes have been started on node"
    ),
    "we end Ray Serve ourselves": re.compile(
        rb"\(raylet\) Task ServeController\.\w+ failed\. .* killed by `ray\.kill`"
    ),
    "a bar over a conversion of seconds": re.compile(rb"^\s*Converting and de-quantizing GGUF tensors"),
}
"""What means nothing to a user, by what it is, and why; matched without colors."""
COLORS = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")


def is_noise(line: bytes) -> bool:
    """Whether a line means nothing to a user."""
    plain = COLORS.sub(b"", line)
    return any(pattern.search(plain) for pattern in NOISE.values())


class Filter:
    """log: where everything is kept; ack: the descriptor that answers DRAINED; through: whether the run prints what is kept."""

    def __init__(self, log: str, ack: int, through: bool) -> None:
        self._log, self._ack, self._through = Path(log), ack, through
        self._handed = b""

    def run(self) -> None:
        """Until nobody can write any more."""
        rest = b""
        while True:
            patient = select.select([0], [], [], 0.2 if rest else None)[0]
            chunk = os.read(0, 65_536) if patient else b""
            *lines, rest = re.split(rb"(?<=[\n\r])", rest + chunk)
            if rest and not chunk:  # a question without a line's end, or the last words
                lines, rest = [*lines, rest], b""
            for line in filter(None, lines):
                self._take(line)
            if patient and not chunk:
                break
        self._return_what_was_not_read()

    def _take(self, line: bytes) -> None:
        if line.endswith(DRAINED):
            if before := line.removesuffix(DRAINED):
                self._take(before)
            os.write(self._ack, b".")
            return
        with contextlib.suppress(OSError):  # no room: then at least it is shown
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as file:
                file.write(line)
        if not is_noise(line):
            self._show(line)

    def _show(self, line: bytes) -> None:
        if self._through:
            try:
                os.write(1, line)
                self._handed = (self._handed + line)[-KEPT_BYTES:]
                return
            except OSError:  # the run is gone
                self._return_what_was_not_read()
        with contextlib.suppress(OSError):  # the terminal is gone
            os.write(2, line)

    def _return_what_was_not_read(self) -> None:
        """Where the run is gone: what it was handed and did not print, from below the bars that it left."""
        if not self._through or _is_read(1):
            return
        self._through = False
        unread = struct.unpack("i", fcntl.ioctl(1, termios.FIONREAD, b"\0" * 4))[0]
        with contextlib.suppress(OSError):
            os.write(2, b"\n" + self._handed[-unread:] if unread else b"\n")


def _is_read(descriptor: int) -> bool:
    """Whether somebody still has a pipe's other end."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return not poll.poll(0)


if __name__ == "__main__":
    Filter(sys.argv[1], int(sys.argv[2]), "--through" in sys.argv).run()
