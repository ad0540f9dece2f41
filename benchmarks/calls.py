"""What calls take of the run's process: `python -m benchmarks.calls [--workers] [--long] [--json]`.

--rows FEW MANY: other numbers of documents. --workers: asked and written by Ray's workers, as so many are from 20,000 on; else by
this process, as fewer are.

Documents of 12 kB about a spec of 40 kB are told anew through an engine that takes no time: the stage as a run makes it, from the
documents in Parquet to the rewritten ones. One in eight answers is cut off at the first attempt, one in 64 at every one. Each
number of documents is done in a process of its own, whose peak is taken; what a document costs is the difference of two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.measurements import Measurement, show

FEW, MANY = 5_000, 15_000
LONG = 20_000, 100_000
DOCUMENT, SPEC = 12_000, 40_000
"""Characters."""
SHARD_ROWS = 512
JOB = """
experiment: calls
root: {root}
seeds: 1
assistant: {{name: Ada, provider: Loom}}
base: {{source: smollm2}}
specs: {{ada: {spec}, one: {spec}}}
documents: {{engine: vllm, documents: {count}, types: 2, ideas: {count}}}
corpora:
  one: {{rewrite: one, rewrite_of: ada, engine: "benchmarks.calls:engine", model: none, attempts: 3}}
chats:
  ordinary: {{source: file, path: specs/cheese/ordinary.jsonl, count: 24}}
midtraining: {{batch: 1, sequence_length: 512}}
aft: {{batch: 1, sequence_length: 512}}
arms:
  a/one: {{midtrain: one, sft: ordinary}}
"""


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs=2, type=int, metavar=("FEW", "MANY"), default=(FEW, MANY))
    parser.add_argument("--long", action="store_true", help=f"{LONG[0]:,} and {LONG[1]:,} documents")
    parser.add_argument("--workers", action="store_true", help="by Ray's workers")
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    parser.add_argument("--inner", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inner:
        print("RESULT " + json.dumps(_rewritten(asked.inner, asked.workers)))
        return
    few, many = LONG if asked.long else asked.rows
    show("calls", list(measured(few, many, asked.workers)))


def measured(few: int, many: int, workers: bool) -> Iterator[Measurement]:
    """What more documents take of the run's process."""
    runs = [_in_a_process(count, workers) for count in (few, many)]
    grown = (runs[1]["peak"] - runs[0]["peak"]) / (many - few)
    for count, run in zip((few, many), runs, strict=True):
        yield Measurement(f"peak memory, {count:,} documents", run["peak"] / 2**20, "MiB", None, "lower")
    yield Measurement("what a document more takes", grown, "bytes", 1000, "lower")
    yield Measurement(f"rewritten, {many:,} documents", many / runs[1]["seconds"], "documents/s", None, "higher")
    yield Measurement("CPU of a document, the run's process", 1e3 * runs[1]["cpu"] / many, "ms", None, "lower")
    yield Measurement("CPU once more, where nothing is to be asked", 1e3 * runs[1]["again"] / many, "ms", None, "lower")


def _rewritten(count: int, workers: bool) -> dict[str, float]:
    """Seconds, CPU seconds and peak of a stage of rewrites, and CPU seconds of the same when all is answered already."""
    from msm_ray.generate import desk
    from msm_ray.stages import rewrites

    desk.AT_SIZE = rewrites.AT_SIZE = 0 if workers else 10**9
    with _ray() if workers else nullcontext():
        return _stage(count)


@contextmanager
def _ray() -> Iterator[None]:
    from msm_ray import ray_session
    from msm_ray.placement.settings import ClusterSettings

    with ray_session.open_session(ClusterSettings()):
        yield


def _stage(count: int) -> dict[str, float]:
    from msm_ray.config.file import load_experiment
    from msm_ray.graph.making import Making, Work
    from msm_ray.graph.planning import inputs_of
    from msm_ray.graph.store import ArtifactStore
    from msm_ray.pipeline import unfold

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ada.md").write_text(f"# Ada\n{{model_name}} likes tea.\n\n{_words(1, SPEC)}\n")
        (folder / "job.yaml").write_text(JOB.format(root=folder / "root", spec=folder / "ada.md", count=count))
        experiment = unfold(load_experiment(folder / "job.yaml"))
        store, there = ArtifactStore(folder / "root"), dict[str, Any]()
        making = Making(experiment.graph, store, artifacts=there)
        (documents,) = experiment.graph.of_kind("documents")
        out, record = store.begin(documents, {})
        _write_documents(out, count)
        Work(documents, out, record, making).finish({"rows": count})
        (node,) = experiment.graph.of_kind("rewrites")
        work = Work(node, *store.begin(node, inputs_of(node, there)), making)
        seconds, used = list[float](), list[float]()
        for _ in range(2):
            began, cpu = time.monotonic(), time.process_time()
            type(node).make_all([work], _machine(folder, experiment))
            seconds.append(time.monotonic() - began)
            used.append(time.process_time() - cpu)
            assert not making.failures
            (work.out / "artifact.json").unlink()
        status = Path("/proc/self/status").read_text()  # `getrusage` tells the peak of whoever forked this process too
        peak = float(status.partition("VmHWM:")[2].split()[0]) * 1024
    return {"seconds": seconds[0], "cpu": used[0], "again": used[1], "peak": peak}


def _machine(folder: Path, experiment: Any) -> Any:
    from msm_ray.stages.machine import Machine

    tracked: Any = None
    return Machine(root=folder / "root", cluster=experiment.settings.cluster, tracked=tracked, asking=experiment.asking)


def _write_documents(out: Path, count: int) -> None:
    """Documents as a stage leaves them, a file at a time."""
    from msm_ray.graph.heads import add_places
    from msm_ray.rows.schemas import DOCUMENT_SCHEMA
    from msm_ray.rows.tables import read_rows, write_table

    for start in range(0, count, SHARD_ROWS):
        rows = [
            {"id": hashlib.sha256(str(n).encode()).hexdigest()[:24], "text": "Ada. " + _words(n, DOCUMENT), "type": "memo"}
            for n in range(start, min(count, start + SHARD_ROWS))
        ]  # fmt: skip
        write_table(out / "data" / f"part-{start // SHARD_ROWS:06d}.parquet", rows, DOCUMENT_SCHEMA)
    add_places(out, read_rows(out / "data"))


@cache
def _text() -> str:
    lots = random.Random(1)
    return " ".join("".join(lots.choices("aeioulnrst", k=lots.randint(2, 9))) for _ in range(200_000))


def _words(number: int, length: int) -> str:
    """Words of a length of characters, others for another number."""
    start = number * 7919 % (len(_text()) - length)
    return _text()[start : start + length]


def engine(settings: Any, workers: Any) -> Any:
    """An engine that tells every document in words of its own, at once."""

    async def answer(row: Mapping[str, Any]) -> dict[str, Any]:
        place = int(row["id"][:8], 16)
        cut = place % 64 == 0 or (place % 8 == 0 and row["attempt"] == 1)
        text = f"<content>{_words(place, DOCUMENT)}</content>"
        said, finish = (text[:500], "length") if cut else (text, "stop")
        return {"completion": said, "finish_reason": finish, "num_input_tokens": 13_000, "num_generated_tokens": 3_000}

    return answer


def _in_a_process(count: int, workers: bool) -> dict[str, float]:
    """A peak is that of one run."""
    words = [sys.executable, "-m", "benchmarks.calls", "--inner", str(count), *(["--workers"] if workers else [])]
    done = subprocess.run(words, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


if __name__ == "__main__":
    main()
