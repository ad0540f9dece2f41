"""Who writes below a root in a bucket: numbered leases, of which the highest holds.

A bucket has no locks, but it can put an object only where none is (S3: `If-None-Match`, GCS: generation 0), so that of two who
want number 8 one gets it. Its holder changes it every few seconds. Who wants the root looks whether the highest lease changes
while its own clock, which nothing else sets, runs for `PATIENCE`: no two machines' clocks are ever compared. Where it did not
change, the holder is gone and number 9 is asked for. A holder that could not renew for `GIVES_UP` stops before anybody can have
taken its place, and one that was stopped meanwhile (a laptop's lid, a suspended machine) is held by the fence (`fence.py`) until
it has seen that its number is still the highest.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from msm_ray.errors import OutOfMeans, PreflightError
from msm_ray.repeating import repeated
from msm_ray.storage import fence

FOLDER = ".lease"


@dataclass(frozen=True)
class Times:
    """Seconds. renew: between two signs of life; gives_up: without one, the holder stops; patience: of who waits for one.

    A waiting run that sees a sign of life is refused at once. gives_up is less than patience by more than a request may take.
    """

    renew: float = 10.0
    gives_up: float = 45.0
    patience: float = 120.0


class Lease:
    """A lease that this process holds."""

    def __init__(self, root: Any, number: int, times: Times):
        self.root, self.number, self.times = root, number, times
        self.beats, self.lost = 0, ""
        self.renewed = time.monotonic()
        self._suspended = _since_boot() - time.monotonic()
        self._lock = threading.Lock()

    def renew(self) -> None:
        """Give a sign of life and see that no higher number is there. What hinders that for too long is told by `check`."""
        with self._lock:
            began = time.monotonic()
            try:
                if _highest(self.root) != self.number:
                    self.lost = "another run has taken it over"
                    return
                self.beats += 1
                _put(self.root, self.number, _said(self.beats))
            except Exception as error:  # an outage may pass; `gives_up` decides
                self.lost = self.lost or ("" if self._left() > 0 else f"it could not be renewed: {error}")
                return
            self.renewed, self._suspended = began, _since_boot() - time.monotonic()

    def check(self) -> None:
        """Raise OutOfMeans where another may hold the root by now."""
        if not self.lost and self._left() <= 0:
            self.renew()  # after a pause of the whole process: is it still ours?
        if self.lost or self._left() <= 0:
            raise OutOfMeans(self.why())

    def why(self) -> str:
        """What a user is told."""
        lost = self.lost or f"no sign of life could be written for {self.times.gives_up:g} s"
        return (
            f"{self.root}: this run no longer holds the root ({lost}); it stops before two runs write there. What was written is "
            "safe: see that no other run works on it, and give the same command again"
        )

    def release(self) -> None:
        """Say that nobody holds it: who comes next need not wait."""
        with contextlib.suppress(Exception):  # then it is found dead
            if not self.lost and _highest(self.root) == self.number:
                _put(self.root, self.number, {**_said(self.beats + 1), "released": True})

    def _left(self) -> float:
        suspended = _since_boot() - time.monotonic() - self._suspended  # Linux's monotonic clock stands while it sleeps
        return self.times.gives_up - (time.monotonic() - self.renewed) - suspended


@contextlib.contextmanager
def held(root: Path, times: Times | None = None, on_lost: Callable[[], None] | None = None) -> Iterator[Lease]:
    """Inside, this process alone writes below `root`. Raises PreflightError where another does, OutOfMeans where it was lost.

    on_lost: called once from a thread where it is lost meanwhile; left out, this process is asked to end as by SIGTERM.
    """
    times = times or Times()
    lease = Lease(root, _taken(root, times), times)
    told = threading.Event()

    def beat() -> None:
        lease.renew()
        if (lease.lost or lease._left() <= 0) and not told.is_set():
            lease.lost = lease.lost or f"no sign of life could be written for {times.gives_up:g} s"
            told.set()
            (on_lost or _end)()

    fence.raise_fence(lease)
    try:
        with repeated(beat, times.renew):
            yield lease
    except KeyboardInterrupt:
        if lease.lost:
            raise OutOfMeans(lease.why()) from None
        raise
    finally:
        fence.lower_fence(lease)
        lease.release()
    if lease.lost:
        raise OutOfMeans(lease.why())


def holder(root: Path) -> str:
    """Who seems to hold a root (`process 12 on host`), for a plan that looks on; "" where nobody does, or nobody lives here."""
    said = _read(root, _highest(root))
    return "" if said is None or said.get("released") or _is_gone(said) else str(said["who"])


def number(root: Path) -> int:
    """The lease by which this process holds a root; 0 where it holds none."""
    return next((one.number for one in fence.fences() if isinstance(one, Lease) and one.root == root), 0)


def check_still(root: Path, held_by: int) -> None:
    """Raise OutOfMeans where a root is another's than the run's that held it by this lease. Workers ask before they commit."""
    if held_by and _highest(root) != held_by:
        raise OutOfMeans(
            f"{root}: another run has taken the root over; nothing of this one is committed any more. What was is safe: see that "
            "no other run works on it, and give the same command again"
        )


def _taken(root: Any, times: Times) -> int:
    """The number of a new lease."""
    while True:
        number = _highest(root)
        if number and not _may_be_taken(root, number, times):
            continue  # it is another's, or released, by now: looked at anew
        mine: Any = root / FOLDER / f"{number + 1:08d}.json"
        said = {**_said(0), "token": uuid.uuid4().hex}
        made = mine.create(json.dumps(said).encode())
        # Where the answer to the first try was lost on the way, the second finds what that has put.
        if (made or _read(root, number + 1) == said) and _highest(root) == number + 1:
            _refuse_careless(mine)
            for old in (root / FOLDER).glob("*.json"):  # numbers only count up: a late comer finds a higher one
                if int(old.stem) <= number:
                    old.unlink(missing_ok=True)
            return number + 1


def _refuse_careless(mine: Any) -> None:
    """Raise PreflightError where the server puts an object over one that is there although it was asked not to."""
    if mine.create(json.dumps(_said(0)).encode()):
        raise PreflightError(
            f"{mine}: this server overwrites an object that was to be put only if there is none (If-None-Match), so that two "
            "runs could spoil each other's work; give a root= on one that knows this, or a folder"
        )


def _may_be_taken(root: Any, number: int, times: Times) -> bool:
    """Whether the holder of a number is through or gone; False where another number is the highest by now.

    Raises PreflightError where it lives.
    """
    first = _read(root, number)
    if first is None:
        return False
    if first.get("released") or _is_gone(first):
        return True
    began = time.monotonic()
    print(
        f"msm: {root}: {first['who']} held it last; waiting up to {times.patience:g} s to see whether that run lives",
        file=sys.stderr,
        flush=True,
    )
    while time.monotonic() - began < times.patience:
        time.sleep(min(2.0, times.renew / 2))
        now = _read(root, number)
        if now is None or now.get("released"):
            return False
        if now != first:
            raise PreflightError(
                f"{root}: another msm run ({now['who']}) is writing there; wait for it, end it, or give this one its own root="
            )
    return _highest(root) == number


def _highest(root: Any) -> int:
    numbers = [int(path.stem) for path in (root / FOLDER).glob("*.json") if path.stem.isdigit()]
    return max(numbers, default=0)


def _read(root: Any, number: int) -> dict[str, Any] | None:
    try:
        return json.loads((root / FOLDER / f"{number:08d}.json").read_bytes())
    except FileNotFoundError:
        return None


def _put(root: Any, number: int, said: dict[str, Any]) -> None:
    path = root / FOLDER / f"{number:08d}.json"
    path.fs.pipe_file(path.path, json.dumps(said).encode())  # not through the fence, which asks this very lease


def _said(beats: int) -> dict[str, Any]:
    """What stands in a lease: who holds it, where its process can be looked for, and a number that changes."""
    me = psutil.Process()
    who = f"process {me.pid} on {platform.node()}"
    return {"who": who, "processes": _processes(), "pid": me.pid, "began": me.create_time(), "beats": beats}


def _is_gone(said: dict[str, Any]) -> bool:
    """Whether the holder ran on this very machine (and in this container) and runs no more: then nobody need wait."""
    if not _processes() or said.get("processes") != _processes():
        return False
    try:
        process = psutil.Process(said["pid"])
        return abs(process.create_time() - said["began"]) > 1 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _processes() -> str:
    """What tells one table of processes from any other: this boot of this machine, and the container. "" where unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
