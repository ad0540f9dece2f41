"""Ray Data's own checkpointing beside ours: `python -m benchmarks.checkpointing [ours] [64] [512] [64-few] [--rows N] [--json]`.

The same rows (20,000) with the same prompts, the same timed engine, as many in flight and the same settling. ours: the documents
stage, which writes rows as they are answered. 64, 512: `read_parquet` -> `map_batches` -> `write_parquet` under a
`CheckpointConfig`, in blocks of so many rows; the same worker hands its rows back, and has as many rows in its hands as ours
(three times those in flight; 64-few: no more than those and an eighth). Each runs once undisturbed, and once more with the driver
and all below it killed (SIGKILL) at half of the rows, and begun again.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from pyarrow import parquet

from benchmarks.generation import timed_job
from benchmarks.kills import IN_FLIGHT, LATENCY, WORKERS, begin, finish, kill_all, wait_for
from benchmarks.measurements import Measurement, show
from benchmarks.timed import asked
from msm_ray.engines.open import Engines
from msm_ray.generate import documents
from msm_ray.generate.asking import Asking
from msm_ray.generate.at_size import passes
from msm_ray.generate.at_size.documents import DocumentPlan, DocumentShare, WrittenJob
from msm_ray.generate.at_size.worker import Brief, Given, Worker
from msm_ray.generate.document_rows import JobRows
from msm_ray.placement.settings import GenerationSettings
from msm_ray.progress import Task
from msm_ray.rows.ids import packed_array
from msm_ray.rows.schemas import REJECTED_SCHEMA, Row
from msm_ray.rows.tables import read_rows

UP, SECONDS = "up", "seconds"
"""Files of whoever writes: Ray is up; how long the rows took from then on."""
CPUS = 4
"""Of Ray: the worker takes half of one, a filter of checkpointed rows one, each write one."""


def main() -> None:
    """Write, kill, go on, count, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpointing", description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)}; none: all")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    parser.add_argument("--write", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.ways) - WAYS.keys():
        parser.error(f"no such way: {', '.join(unknown)}")
    if given.write:
        _write(WAYS[given.ways[0]], Path(given.write), given.rows)
        return
    show("checkpointing", [one for way in given.ways or WAYS for one in _measured(way, given.rows)])


def _measured(way: str, rows: int) -> Iterator[Measurement]:
    name = "ours" if way == "ours" else f"Ray Data, blocks of {way}"
    with tempfile.TemporaryDirectory() as undisturbed:
        folder = Path(undisturbed)
        process = _begin(way, folder, rows)
        used = _cpu_of(process, folder / UP)
        finish(process, folder)
        yield Measurement(f"{name}: no kill", rows / float((folder / SECONDS).read_text()), "rows/s", None, "higher")
        yield Measurement(f"{name}: CPU of a row, all processes", 1e3 * used / rows, "ms", None, "lower")
        yield from _counted(folder, rows, f"{name}, no kill", goal=0)
    with tempfile.TemporaryDirectory() as killed:
        folder = Path(killed)
        process = _begin(way, folder, rows)
        wait_for(folder, process, rows // 2)
        kill_all(process)
        finish(_begin(way, folder, rows), folder)
        yield from _counted(folder, rows, f"{name}, killed at half", goal=IN_FLIGHT)


def _begin(way: str, folder: Path, rows: int) -> subprocess.Popen[bytes]:
    return begin(["benchmarks.checkpointing", way, "--rows", str(rows), "--write", str(folder)], folder)


def _cpu_of(process: subprocess.Popen[bytes], up: Path) -> float:
    """Seconds of CPU that a process and all below it use from when Ray is up; some end before, so it is asked often."""
    seen, before = dict[int, float](), 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    seen[one.pid] = sum(one.cpu_times()[:2])
        before = before or (sum(seen.values()) if up.exists() else 0.0)
        time.sleep(0.2)
    return sum(seen.values()) - before


def _counted(folder: Path, rows: int, name: str, goal: int) -> Iterator[Measurement]:
    """What is on disk against what was asked for. goal: requests that may have been made twice."""
    made = timed_job(folder / "out", rows, LATENCY)
    written = [row["id"] for row in read_rows(folder / "out" / "data", ["id"])]
    settled = {*written, *(row["id"] for row in read_rows(folder / "out" / "rejected", ["id"]))}
    twice = sum(many - 1 for many in asked(folder / "log").values())
    yield Measurement(f"{name}: rows missing", len(JobRows(0, made).rows.keys() - settled), "rows", 0, "lower")
    yield Measurement(f"{name}: rows twice", len(written) - len(set(written)), "rows", 0, "lower")
    yield Measurement(f"{name}: requests made twice", twice, "requests", goal, "lower")


# What is killed --------------------------------------------------------------------------------------------------------


def _write(way: Callable[[Any, Engines, Path], None], folder: Path, rows: int) -> None:
    """The rows by one way, on a Ray of its own, and the seconds that this took."""
    import ray

    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    (folder / UP).touch()
    made, began = timed_job(folder / "out", rows, LATENCY), time.monotonic()
    with Engines(GenerationSettings(workers=WORKERS)) as engines:
        way(made, engines, folder)
    (folder / SECONDS).write_text(str(time.monotonic() - began))


def _ours(made: Any, engines: Engines, folder: Path) -> None:
    documents.AT_SIZE = 0
    documents.write_all_documents([made], engines)


def _by_ray_data(block: int, at_once: int, made: Any, engines: Engines, folder: Path) -> None:
    """In blocks of so many rows, of which the worker has so many at a time."""
    import ray
    from ray.data.checkpoint import CheckpointConfig

    plan = DocumentPlan(0, made)
    ids = _ids(folder / "ids.parquet", plan)
    openers = {each: engines.opener(each) for each in plan.asked}
    brief = ray.put(Brief([WrittenJob(made, "")], openers, [], [], ""))
    ray.data.DataContext.get_current().checkpoint_config = CheckpointConfig("id", str(folder / "checkpoint"))
    given = ray.data.read_parquet(str(ids)).repartition(
        target_num_rows_per_block=block
    )  # it reads a small file as one block
    given.map_batches(
        RowWorker,
        fn_constructor_args=(brief,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=2 * at_once),
        num_cpus=passes.ASKER_CPUS,
        max_concurrency=at_once,
    ).write_parquet(str(folder / "out" / "data"))


def _ids(file: Path, plan: DocumentPlan) -> Path:
    """The ids of all rows as a file: checkpoints are held against what is read."""
    if not file.exists():
        columns = {"job": [0] * len(plan), "place": range(len(plan)), "id": map(plan.key, range(len(plan)))}
        rows = pa.table({**{name: list(of) for name, of in columns.items()}, "tries": plan.tries})
        parquet.write_table(rows, file)
    return file


class Collected:
    """The last answer of each row, in the place of files."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def add(self, row: Row, position: int) -> None:
        """Take a row that is settled; one that is tried anew comes again."""
        self.rows[row["id"]] = row

    def tick(self) -> None:
        """Nothing is written here."""

    def flush(self) -> None:
        """Nothing is written here."""


class RowWorker(Worker):
    """A worker that hands its rows back, with what became of each."""

    async def __call__(self, block: pa.Table) -> pa.Table:
        """One block."""
        taken: Any = Collected()
        job: Any = self.brief.jobs[0]
        given = Given(block["place"].to_numpy(), packed_array(block["id"].to_pylist()), block["tries"].to_numpy())
        rows = DocumentShare(job, job.what.ideas(), taken).block(given).table
        if waiting := rows.pending():
            await self.ask(Asking([rows], rows.engine(waiting[0]), waiting, Task("", None, "")))
        return pa.Table.from_pylist(list(taken.rows.values()), REJECTED_SCHEMA)


WAYS: dict[str, Callable[[Any, Engines, Path], None]] = {
    "ours": _ours,
    "64": partial(_by_ray_data, 64, 3 * IN_FLIGHT // 64),
    "512": partial(_by_ray_data, 512, 3 * IN_FLIGHT // 512),
    "64-few": partial(_by_ray_data, 64, 9 * IN_FLIGHT // 8 // 64),
}

if __name__ == "__main__":
    main()
