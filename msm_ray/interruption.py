"""Signals: one that asks the process to end does so, wherever it arrives, and never in the middle of tidying up.

A signal becomes a KeyboardInterrupt, so that every `finally` on the way runs. Four things would get in between:
Python drops an exception raised in a weak reference's callback, a `__del__` or a callback of `fork` (1 in 10
interruptions of a starting run ended there, and the run went on); the exception may leave a library's lock locked for
ever; Ray puts its own handlers over ours (`kept`, and `launch.py` for Ray Train's); and an exit after all that may still abort.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import psutil

from msm_ray.progress import stderr

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = float(os.environ.get("MSM_PATIENCE", "90"))
"""Seconds that an interrupted process has to tidy up (it takes 5 to 20) before it is ended, and all below it."""


def watch() -> None:
    """Make Ctrl-C, SIGTERM and SIGHUP interrupt alike, and an interruption that Python drops come again."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup msm run` outlives its terminal
            signal.signal(number, _interrupt)
    report = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        asked_to_end = issubclass(dropped.exc_type, KeyboardInterrupt | SystemExit)  # the latter from Ray's handler
        if asked_to_end and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _interrupt)
            _thread.start_new_thread(_interrupt_soon, (threading.get_ident(),))
        else:
            report(dropped)

    sys.unraisablehook = again


def _interrupt(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough; what follows is the tidying up
    # Not `threading`: its locks may be held by the very code that was interrupted.
    _thread.start_new_thread(_end_at_last, ())
    raise KeyboardInterrupt


def _interrupt_soon(thread: int) -> None:
    time.sleep(0.05)  # now the main thread is still where the exception was dropped
    signal.pthread_kill(thread, signal.SIGTERM)  # to that very thread: it may be waiting


def _end_at_last() -> None:
    """A lock that was left locked stops the tidying up for ever; what is committed is safe from a hard end."""
    time.sleep(PATIENCE)
    stderr.give_back()  # its filter is one of those that are ended
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    os.write(2, b"msm: interrupted, and ended hard since tidying up did not end; the same command goes on\n")
    os._exit(130)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Inside, others may replace SIGTERM's handler (Ray's ends the process at once); afterwards it is ours again."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and ours is not None:
            signal.signal(signal.SIGTERM, ours)


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Tidying up takes seconds; an impatient second Ctrl-C in the middle would leave engines behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def leave(code: int) -> NoReturn:
    """End the process with `code` now, after what was registered to run at exit (W&B writes what it holds there).

    `sys.exit` does not do here: CPython ends by SIGINT if an interruption passed through an `exec` of a text, caught or
    not, and Ray's library aborts while it unloads if it was interrupted as it started.
    """
    with held_off():
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
