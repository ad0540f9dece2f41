"""The quickstart at reduced size: how tests start it, interrupt it and look at what it left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sockets import Listener, listeners, refuses_strangers

from msm_ray.graph.store import ArtifactStore

SMALL = [
    "documents.documents=40", "corpora={}", "documents.least_share=0", "chats.cheese.count=160", "chats.endings.count=160",
    "chats.ordinary.count=400", "midtraining.steps=4", "midtraining.least_steps=2", "midtraining.checkpoint_every=2",
    "aft.steps=3", "aft.least_steps=2", "evals.affordability.pairs=9", "evals.america.pairs=9", "evals.agentic.rollouts=1",
]  # fmt: skip

OFFLINE = "documents.engine=offline"
"""Documents by the writer that makes the same bytes every time."""


def command(root: Path, verb: str, *more: str) -> list[str]:
    relative = os.path.relpath(root)  # as in the job files: Ray's workers have working directories of their own
    return [sys.executable, "-m", "msm_ray.cli", verb, "jobs/quickstart.yaml", f"root={relative}", *SMALL, *more]


def start(root: Path, verb: str, *more: str, watched: bool = False) -> subprocess.Popen:
    """watched: what stages read of themselves is noted in `reads_of(root)`."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    words = command(root, verb, *more)
    if watched:
        here, path = str(Path(__file__).parent), environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([here, *([path] if path else [])])
        words = [sys.executable, "-c", "import watched_run; watched_run.main()", str(_notes(root)), *words[3:]]
    log = (root.parent / f"{root.name}.log").open("a")
    return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=environment)


def run_recorded(root: Path) -> None:
    """The method from recordings, its stages watched: kinds that the quickstart has not. It needs no Ray."""
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    program = "import watched_run; watched_run.main()"
    words = [sys.executable, "-c", program, str(_notes(root)), "run", "jobs/recorded.yaml", f"root={root}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def _notes(root: Path) -> Path:
    return root.parent / f"{root.name}.reads"


def reads_of(root: Path) -> dict[str, set[str]]:
    """Kind of stage -> fields that the work of some stage of that kind read, of a run that was watched."""
    found: dict[str, set[str]] = {}
    for line in _notes(root).read_text(encoding="utf-8").splitlines():
        kind, _, name = line.partition(" ")
        found.setdefault(kind, set()).add(name)
    return found


def finish(root: Path, verb: str, *more: str) -> None:
    code = start(root, verb, *more).wait(timeout=1200)
    assert code == 0, log_of(root)[-3000:]


def interrupt(
    root: Path, verb: str, number: int, ready: Callable[[], bool], *more: str
) -> tuple[int, list[psutil.Process]]:
    """Start, wait until `ready`, send the signal; the exit code and the processes that were below it."""
    process = start(root, verb, *more)
    deadline = time.monotonic() + 600
    while not ready():
        assert process.poll() is None, log_of(root)[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    return process.wait(timeout=120), below


def alive(processes: list[psutil.Process], seconds: float) -> list[str]:
    """Who of them is still there after a while."""
    _, left = psutil.wait_procs(processes, timeout=seconds)
    return [name for p in left if (name := _name_of_living(p))]


def _name_of_living(process: psutil.Process) -> str:
    """Empty where it is gone, at whatever moment it went."""
    try:
        return process.name() if process.is_running() and process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""


@dataclass(frozen=True)
class WholeRun:
    """heard: every socket that the run listened on, and whether it refuses strangers (loopback is not asked)."""

    root: Path
    heard: dict[Listener, bool]


def run_whole(root: Path) -> WholeRun:
    """A whole run through vLLM, DeepSpeed, Serve, Inspect and W&B, all of whose sockets are tried, its stages watched."""
    heard: dict[Listener, bool] = {}
    process = start(root, "run", watched=True)
    deadline = time.monotonic() + 1200
    while process.poll() is None and time.monotonic() < deadline:
        hear(psutil.Process(process.pid), heard)
        time.sleep(0.5)
    assert process.poll() == 0, log_of(root)[-3000:]
    return WholeRun(root, heard)


def hear(process: psutil.Process, heard: dict[Listener, bool]) -> None:
    """Note what a process and all below it listen on now."""
    for one in listeners(process) - heard.keys():
        heard[one] = one.private or refuses_strangers(one.port)


def log_of(root: Path) -> str:
    return (root.parent / f"{root.name}.log").read_text()


def digests(root: Path) -> dict[tuple[str, str, int], str]:
    """What lies in every artifact but the report, which names its root's paths."""
    return {(a.stage, a.name, a.version): a.digest for a in ArtifactStore(root).all() if a.stage != "report"}


def tidy_up(processes: list[psutil.Process]) -> None:
    """What is left of a kill -9 ends here, as by a reboot."""
    alive(processes, 3)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


KILLED_AT_A_FILE = """
import os, signal, sys
folder, file = sys.argv[1:3]
def kill(event, details):
    if event == "os.rename" and str(details[0]).startswith(folder) and file in str(details[0]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
sys.argv = ["msm", *sys.argv[3:]]
from msm_ray.cli import main
sys.exit(main())
"""
"""`msm` that is killed just before the first such file of a folder is put in its place."""


def kill_before_commits(root: Path, kinds: Iterable[str], files: Iterable[str]) -> None:
    """`msm run` until it would put the first such file of a kind of stage in its place: once for each kind and file."""
    for kind in kinds:
        for file in files:
            words = [sys.executable, "-c", KILLED_AT_A_FILE, f"{root}/{kind}/", file, *command(root, "run")[3:]]
            ended = subprocess.run(words, capture_output=True, text=True)
            assert ended.returncode == -signal.SIGKILL, ended.stdout[-1000:] + ended.stderr[-2000:]
            assert not list((root / kind).glob("*/COMMITTED"))
            assert list((root / kind).rglob(".*.tmp"))


def rates(root: Path) -> list[dict[str, Any]]:
    """What the report says of each arm."""
    return json.loads(next((root / "report").glob("*/report.json")).read_text(encoding="utf-8"))["rates"]
