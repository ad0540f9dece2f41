"""What this machine has, and whether a run fits: looked up in milliseconds, before anything starts.

A container's own limits count, not what its host has: processors by affinity and cgroup quota, memory by cgroup limit.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from msm_ray.errors import PreflightError
from msm_ray.placement.settings import ClusterSettings

SHARED_MEMORY = Path("/dev/shm")
ENGINE_SHARED_MIB = 160
"""What each vLLM engine reserves below /dev/shm for the queue between its processes (docs/stack.md)."""
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """What there is. cores: that may be used at once; sizes in GiB; shared_gib: free below /dev/shm, None where there is none."""

    cores: float
    memory_gib: float
    available_gib: float
    disk_gib: float
    shared_gib: float | None
    python: str

    def line(self) -> str:
        """One line for a person."""
        shared = "none" if self.shared_gib is None else _size(self.shared_gib)
        return (
            f"this machine: {self.cores:g} cores, {_size(self.memory_gib)} of memory ({_size(self.available_gib)} free), "
            f"{_size(self.disk_gib)} of disk free, {shared} of /dev/shm free, Python {self.python}; no compiler is needed"
        )


def look(root: Path) -> Machine:
    """This machine as a run below `root` finds it."""
    memory, limit, used = psutil.virtual_memory(), *_memory_limit()
    total, available = memory.total, memory.available
    if limit is not None:
        total, available = min(total, limit), min(available, max(limit - used, 0))
    shared = shutil.disk_usage(SHARED_MEMORY).free / 2**30 if SHARED_MEMORY.is_dir() else None
    disk = shutil.disk_usage(_existing(root)).free
    return Machine(_cores(), total / 2**30, available / 2**30, disk / 2**30, shared, platform.python_version())


def refuse_lacking(machine: Machine, cluster: ClusterSettings, root: Path, *, engines: bool) -> None:
    """Raise PreflightError, with every shortage and its remedy, where a run on this machine alone would fail after minutes."""
    if problems := lacking(machine, cluster, root, engines=engines):
        raise PreflightError("\n".join(problems))


def lacking(machine: Machine, cluster: ClusterSettings, root: Path, *, engines: bool) -> list[str]:
    """Every shortage, each with its remedy. engines: whether vLLM engines will run here."""
    problems = []
    if machine.disk_gib < cluster.least_disk_gib:
        problems.append(
            f"{root}: {machine.disk_gib:.1f} GiB free, {cluster.least_disk_gib:g} needed (cluster.least_disk_gib); "
            "make room or give root=FOLDER"
        )
    if machine.memory_gib < cluster.least_memory_gib:
        problems.append(
            f"memory: {machine.memory_gib:.1f} GiB on this machine, {cluster.least_memory_gib:g} needed "
            "(cluster.least_memory_gib); run it on a larger one, or lower the setting to try all the same"
        )
    if engines and machine.shared_gib is not None and machine.shared_gib * 1024 < ENGINE_SHARED_MIB:
        problems.append(
            f"{SHARED_MEMORY}: {machine.shared_gib * 1024:.0f} MiB free, a vLLM engine needs {ENGINE_SHARED_MIB}; in a container "
            "start it with `--shm-size=256m` (Docker, Podman), elsewhere `mount -o remount,size=256m /dev/shm`"
        )
    if engines and not cluster.serving.gpus and not _has_library("libnuma.so.1"):
        problems.append(
            "libnuma.so.1 is missing, which vLLM's CPU build is linked against: `apt-get install libnuma1` (Debian, Ubuntu) or "
            "`dnf install numactl-libs` (Fedora, RHEL)"
        )
    return problems


def warn_of_little(machine: Machine, cluster: ClusterSettings) -> str:
    """A word where the memory would do but other programs hold it; else an empty text."""
    if machine.available_gib >= cluster.least_memory_gib:
        return ""
    return (
        f"only {machine.available_gib:.1f} GiB of memory are free now, {cluster.least_memory_gib:g} are needed "
        "(cluster.least_memory_gib): close other programs, or the machine may swap or end the run"
    )


def interpreter() -> str | None:
    """The Python for Ray's workers, quoted, where its path needs it ("My Projects"); None where Ray's own way does.

    Ray hands the path to a shell as it is, so that with a space in it no worker ever starts.
    """
    quoted = shlex.quote(sys.executable)
    return None if quoted == sys.executable else quoted


@cache
def speed(seconds: float = 0.7) -> float:
    """How fast two processes at once do what tiny models need, in steps a second, together: small matrices and plain Python.

    Takes about a second, once a process; both begin at the same time, so that a single core shows.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _STEPS, str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    return sum(float(process.communicate()[0]) for process in running)


_STEPS = """
import sys, time
import numpy as np
a, b = np.ones((256, 128), np.float32), np.ones((128, 384), np.float32)
def step():
    for _ in range(20):
        a @ b
    return sum(i * i for i in range(5000))
step()
began, done = time.monotonic(), 0
while time.monotonic() - began < float(sys.argv[1]):
    step()
    done += 1
print(done / (time.monotonic() - began))
"""


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{gib * 1024:.0f} MiB"


def _existing(path: Path) -> Path:
    """The folder itself or the nearest one above it that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _cores() -> float:
    cores = float(len(os.sched_getaffinity(0)))
    quota = _words(CGROUP / "cpu.max")
    if len(quota) == 2 and quota[0] != "max":
        cores = min(cores, int(quota[0]) / int(quota[1]))
    return cores


def _memory_limit() -> tuple[int | None, int]:
    """Bytes that a container may use and uses (cgroup v2, else v1); (None, 0) where there is no limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        words = _words(CGROUP / limit)
        if words and words[0].isdigit() and int(words[0]) < 2**60:
            return int(words[0]), int((_words(CGROUP / used) or ["0"])[0])
    return None, 0


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
