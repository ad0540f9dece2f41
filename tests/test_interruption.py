"""Signals that arrive where Python drops exceptions, in code that remembers them, and in the middle of tidying up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = """
import atexit, os, signal, sys, time
from msm_ray import interruption

def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)
    time.sleep(0)  # a bytecode boundary: here Python runs the handler

class Swallows:
    def __del__(self):
        send(NUMBER)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run under nohup, or in the background, ignores both
signal.signal(signal.SIGHUP, signal.SIG_DFL)
interruption.watch()
atexit.register(print, "at exit")
try:
    WORK
    time.sleep(20)
    print("went on")
except KeyboardInterrupt:
    interruption.leave(130)
"""


def ended(folder: Path, work: str, number: str = "signal.SIGTERM") -> subprocess.CompletedProcess[str]:
    """How `python -m`, which is how `msm` is started in a job, ends with the program."""
    (folder / "program.py").write_text(PROGRAM.replace("NUMBER", number).replace("WORK", work))
    environment = os.environ | {"MSM_PATIENCE": "3"}
    order = [sys.executable, "-m", "program"]
    return subprocess.run(order, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_signal_that_python_drops_in_a_finalizer_still_interrupts(tmp_path: Path) -> None:
    for number in ("signal.SIGTERM", "signal.SIGINT", "signal.SIGHUP"):
        done = ended(tmp_path, "Swallows()", number)
        assert (done.returncode, done.stdout, done.stderr) == (130, "at exit\n", "")


def test_a_signal_inside_an_exec_of_a_text_ends_with_the_code_of_an_interruption(tmp_path: Path) -> None:
    assert ended(tmp_path, "exec('send()')").returncode == 130  # with sys.exit, CPython would end by SIGINT here


def test_other_exceptions_in_finalizers_are_reported_as_before(tmp_path: Path) -> None:
    done = ended(tmp_path, "type('Bad', (), {'__del__': lambda self: 1 / 0})(); send()")
    assert done.returncode == 130
    assert "ZeroDivisionError" in done.stderr


def test_nothing_interrupts_the_tidying_up_and_the_handlers_come_back(tmp_path: Path) -> None:
    work = """
    with interruption.held_off():
        send(signal.SIGINT); send(); send(signal.SIGHUP)
        print("tidy")
    send()"""
    done = ended(tmp_path, work.strip())
    assert (done.returncode, done.stdout) == (130, "tidy\nat exit\n")


def test_a_process_started_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN); interruption.watch()"
    done = ended(tmp_path, f"{ignored}; send(signal.SIGHUP); print('still here'); send()")
    assert (done.returncode, done.stdout) == (130, "still here\nat exit\n")


@pytest.mark.parametrize("number", ["signal.SIGTERM", "signal.SIGINT"])
def test_a_process_that_cannot_tidy_up_is_ended_with_all_below_it(tmp_path: Path, number: str) -> None:
    work = f"""
    import subprocess
    below = subprocess.Popen(["sleep", "600"])
    print(below.pid, flush=True)
    try:
        send({number})
    finally:
        time.sleep(600)  # as on a lock that nobody will release"""
    done = ended(tmp_path, work.strip())
    assert done.returncode == 130
    assert "ended hard" in done.stderr
    below = int(done.stdout)
    deadline = (
        time.monotonic() + 20
    )  # a killed process is gone when the kernel comes to it, on a busy machine not at once
    while time.monotonic() < deadline and psutil.pid_exists(below):
        if psutil.Process(below).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    assert not psutil.pid_exists(below)
