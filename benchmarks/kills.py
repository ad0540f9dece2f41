"""What a kill costs: `python -m benchmarks.kills [driver] [worker] [node] [--long] [--json]`.

A timed engine writes documents through Ray's workers (6,000; --long: 100,000), and something is killed (SIGKILL) at 10, 50 and
90% of them: the driver with all below it, which is then begun again; a worker; or a node of three with all that runs on it.
Counted are documents that are missing or there twice, requests that were made twice, and seconds: until the first request, from
when Ray is up again (driver), or until as many as are in flight were made, from the kill. The timed engine lives in its worker:
what the kill of a pool's engine does is in `tests/test_pool.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.generation import timed_job
from benchmarks.measurements import Measurement, show
from benchmarks.timed import answer_of, asked

PLACES = (0.1, 0.5, 0.9)
LATENCY, WORKERS = 0.25, 8
IN_FLIGHT = WORKERS * 4 * 32
TWICE = {"driver": IN_FLIGHT, "worker": IN_FLIGHT, "node": IN_FLIGHT + 2 * IN_FLIGHT // 3}
"""Most requests that are made twice: those in flight. The other two of three nodes live on when one dies, and what they begin
after the pass was counted and before they end is asked again too: about as much as they have at a time."""
PATIENCE = 900.0


def main() -> None:
    """Kill, count, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.splitlines()[0])
    parser.add_argument("who", nargs="*", metavar="WHO", help="of driver, worker, node; none: all")
    parser.add_argument("--long", action="store_true", help="100,000 rows")
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        folder, rows, nodes = given.write
        _write(Path(folder), int(rows), int(nodes))
        return
    rows = 100_000 if given.long else 6_000
    show("kills", [one for who in given.who or KILLS for at in PLACES for one in _killed(who, at, rows)])


def _killed(who: str, at: float, rows: int) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = _begin(folder, rows, 3 if who == "node" else 1)
        try:
            wait_for(folder, process, int(at * rows))
            process = KILLS[who](folder, process, rows)
            before, since = asked(folder / "log").total(), time.time()
            while asked(folder / "log").total() <= before + (IN_FLIGHT if who != "driver" else 0):
                time.sleep(0.05)
            up = folder / "up"
            since = max(since, up.stat().st_mtime) if who == "driver" and up.exists() else since
            resumed = max(0.0, time.time() - since)
            finish(process, folder)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        label = f"{who} killed at {at:.0%} of {rows:,}"
        next_ = (
            "first request, from when Ray is up" if who == "driver" else f"next {IN_FLIGHT:,} requests, from the kill"
        )
        yield Measurement(f"{label}: {next_}", resumed, "s", 20, "lower")
        yield from _counted(folder, rows, label, TWICE[who])


def _counted(folder: Path, rows: int, label: str, most: int) -> Iterator[Measurement]:
    """What is on disk against what must be there."""
    from msm_ray.generate.document_rows import JobRows
    from msm_ray.rows.tables import read_rows

    job = timed_job(folder / "out", rows, LATENCY)
    ids = [row["id"] for row in read_rows(job.out / "data", ["id"])]
    wanted = {key for key in JobRows(0, job).rows if any(answer_of(key, n)[1] == "stop" for n in (1, 2, 3))}
    twice = sum(many - 1 for many in asked(folder / "log").values())
    yield Measurement(f"{label}: documents missing", len(wanted - set(ids)), "rows", 0, "lower")
    yield Measurement(f"{label}: documents twice", len(ids) - len(set(ids)), "rows", 0, "lower")
    yield Measurement(f"{label}: requests made twice, of {IN_FLIGHT} in flight", twice, "requests", most, "lower")


def _kill_driver(folder: Path, process: subprocess.Popen[bytes], rows: int) -> subprocess.Popen[bytes]:
    kill_all(process)
    (folder / "up").unlink(missing_ok=True)
    return _begin(folder, rows, 1)


def _kill_worker(folder: Path, process: subprocess.Popen[bytes], rows: int) -> subprocess.Popen[bytes]:
    os.kill(_newest(folder), signal.SIGKILL)
    return process


def _kill_node(folder: Path, process: subprocess.Popen[bytes], rows: int) -> subprocess.Popen[bytes]:
    """The raylet that the newest worker belongs to, unless it is the head's, and all below it."""
    raylets = [one for one in psutil.Process(process.pid).children(recursive=True) if one.name() == "raylet"]
    for one in sorted(raylets, key=lambda one: one.create_time())[-1:]:
        for each in [*one.children(recursive=True), one]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
    return process


def _newest(folder: Path) -> int:
    return int(max((folder / "log").glob("*.txt"), key=lambda path: path.stat().st_mtime).stem)


def _begin(folder: Path, rows: int, nodes: int) -> subprocess.Popen[bytes]:
    return begin(["benchmarks.kills", "--write", str(folder), str(rows), str(nodes)], folder)


def begin(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """A benchmark in a process of its own, whose requests are noted below a folder."""
    (folder / "log").mkdir(exist_ok=True)
    environment = {**os.environ, "TIMED_LOG": str(folder / "log"), "RAY_worker_niceness": "0"}
    with (folder / "writer.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *words], stdout=log, stderr=log, env=environment, start_new_session=True
        )


def wait_for(folder: Path, process: subprocess.Popen[bytes], rows: int) -> None:
    """Until it has made so many requests."""
    while asked(folder / "log").total() < rows:
        if process.poll() is not None:
            sys.exit((folder / "writer.log").read_text()[-4000:])
        time.sleep(0.05)


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until it has ended."""
    if code := process.wait(PATIENCE):
        sys.exit(f"ended with {code}: " + (folder / "writer.log").read_text()[-4000:])


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """It and all below it."""
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    process.wait()


def _write(folder: Path, rows: int, nodes: int) -> None:
    """What is killed: a cluster of its own, and the stage on it."""
    import ray
    from ray.cluster_utils import Cluster

    from msm_ray.engines.open import Engines
    from msm_ray.generate import documents
    from msm_ray.placement.settings import GenerationSettings

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    (folder / "up").touch()
    documents.AT_SIZE = 0
    with Engines(GenerationSettings(workers=WORKERS)) as engines:
        documents.write_all_documents([timed_job(folder / "out", rows, LATENCY)], engines)
    ray.shutdown()
    cluster.shutdown()


KILLS = {"driver": _kill_driver, "worker": _kill_worker, "node": _kill_node}

if __name__ == "__main__":
    main()
