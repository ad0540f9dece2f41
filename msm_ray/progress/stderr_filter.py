"""The filter that standard error of a run goes through: a process of its own, so that a run's last words outlive the run.

    python stderr_filter.py LOG ACK [PRINTED]

Reads standard input to its end, writes every line to LOG and those that mean something to standard error; with PRINTED, to
standard output, where the run reads them and prints them above its bars. PRINTED is the descriptor of a file in which the run
notes how many bytes it has printed: what a run that died had not is printed here. A line `DRAINED` is answered by a byte to the
descriptor ACK: all before it is written. Imports nothing of ours: it has to start in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import time
from pathlib import Path

DRAINED = b"\x1emsm: drained\n"
KEPT_BYTES = 65_536
LONGEST_LAG = 2.0
"""Seconds that a run is given to print what it was handed last."""
NOISE = {
    "Ray Data restarts its actors and keeps their arguments alive itself": re.compile(
        rb"core_worker\.cc:\d+: Actor with class name: .* has constructor arguments in the object store and max_restarts > 0"
    ),
    "more processes than cores are what small shares of a CPU are for": re.compile(
        rb"\(raylet[^)]*\) WARNING: \d+ PYTHON worker processes have been started on node"
    ),
    "we end Ray Serve ourselves": re.compile(
        rb"\(raylet[^)]*\) Task ServeController\.\w+ failed\. .* killed by `ray\.kill`"
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
    """log: where everything is kept; ack, printed: descriptors (see above); printed is None where the run prints nothing."""

    def __init__(self, log: str, ack: int, printed: int | None) -> None:
        self._log, self._ack, self._printed = Path(log), ack, printed
        self._last, self._handed = b"", 0

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
        self._print_what_the_run_did_not()

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
        if self._printed is not None:
            try:
                os.write(1, line)
                self._last, self._handed = (self._last + line)[-KEPT_BYTES:], self._handed + len(line)
                return
            except OSError:  # the run is gone
                self._print_what_the_run_did_not()
        with contextlib.suppress(OSError):  # the terminal is gone
            os.write(2, line)

    def _print_what_the_run_did_not(self) -> None:
        """Where the run is gone: what it was handed and did not print, from below the bars that it left.

        A process that ends closes its ends of pipes one after the other: a run that has not printed all may just be going.
        """
        deadline = time.monotonic() + LONGEST_LAG
        while _is_read(1) and self._unprinted() and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._printed is None or _is_read(1):
            return
        left = self._unprinted()
        self._printed = None
        with contextlib.suppress(OSError):
            os.write(2, b"\n" + self._last[-left:] if left else b"\n")

    def _unprinted(self) -> int:
        """Bytes that the run was handed and has not printed."""
        if self._printed is None:
            return 0
        return self._handed - int.from_bytes(os.pread(self._printed, 8, 0), "little")


def _is_read(descriptor: int) -> bool:
    """Whether somebody still has a pipe's other end."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return not poll.poll(0)


if __name__ == "__main__":
    Filter(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None).run()
