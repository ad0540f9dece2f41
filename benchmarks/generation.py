"""Documents against what writes them: `python -m benchmarks.generation [engines] [rows] [memory] [nodes] [--long] [--json]`.

engines: the documents stage over bare `vllm.LLM.generate`, same prompts and engine settings, from the first to the last token.
rows: an engine that takes no time, documents of a spec from the outline to Parquet, through Ray's workers. memory: the driver's,
more rows against fewer. nodes: an engine slow enough to leave the cores idle, on clusters of 1, 2, 4 (--long: 8) nodes of this
machine, against a model with constants measured on one. --long takes more rows. Without a name all four.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.measurements import Measurement, show
from benchmarks.node_plot import plot

PROMPTS, FEW_PROMPTS, MAX_TOKENS = 3_000, 64, 120
"""Few of a model that is given: two cores write some 150 tokens a second of SmolLM2-135M."""
LATENCY = 2.0
PER_NODE = 4 * 32
"""Rows in flight on a node: the settings' own."""
REQUESTS = 1 + 7 / 64 + 2 / 64
"""Requests a row, by `benchmarks.timed`."""


def main() -> None:
    """Measure what is asked for; print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--long", action="store_true", help="more rows, and eight nodes")
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    parser.add_argument("--model", help="folder of the weights that write (default: the tiny world's base)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="nodes: a PNG of what ran and of the model")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inner:
        print("RESULT " + json.dumps(INNER[asked.inner](asked, *map(float, asked.parts))))
        return
    if unknown := set(asked.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(unknown)}")
    show("generation", [one for part in asked.parts or PARTS for one in PARTS[part](asked)])


def engines(asked: argparse.Namespace) -> Iterator[Measurement]:
    """Bare, ours, bare, ours: each in a process of its own."""
    runs = [_in_a_process(inner, asked) for inner in ("bare", "ours") * 2]
    bare, ours = (
        sum(run["tokens"] for run in runs[at::2]) / sum(run["seconds"] for run in runs[at::2]) for at in (0, 1)
    )
    yield Measurement("bare vLLM", bare, "tokens/s", None, "higher")
    yield Measurement("documents stage", ours, "tokens/s", None, "higher")
    yield Measurement("documents stage over bare vLLM", ours / bare, "ratio", 0.95 if asked.model else 0.92, "higher")
    yield Measurement("first start of the engine", runs[1]["start"], "s", None, "lower")
    yield Measurement("first answer where it is up already", runs[1]["again"], "s", None, "lower")


def _bare(asked: argparse.Namespace) -> dict[str, float]:
    """vLLM's own offline loop over the stage's prompts."""
    from vllm import LLM, SamplingParams

    from msm_ray.engines.vllm import end_tokens, engine_arguments, engine_environment
    from msm_ray.generate.document_rows import JobRows

    os.environ |= engine_environment(_workers(asked))
    with tempfile.TemporaryDirectory() as folder:
        job = _job(Path(folder), asked, _prompts(asked))
        rows = JobRows(0, job)
        render = rows.render(job.engine())
        prompts = [render(row)["prompt"] for row in rows.pending()]
    llm = LLM(model=_model(asked), **engine_arguments(_workers(asked), 0))
    sampling = SamplingParams(temperature=0.7, max_tokens=MAX_TOKENS, stop_token_ids=end_tokens(_model(asked)))
    llm.generate(prompts[:4], sampling, use_tqdm=False)
    began = time.monotonic()
    done = llm.generate(prompts, sampling, use_tqdm=False)
    return {"tokens": sum(len(one.outputs[0].token_ids) for one in done), "seconds": time.monotonic() - began}


def _ours(asked: argparse.Namespace) -> dict[str, float]:
    """The documents stage, its engine up before the clock starts."""
    from msm_ray import ray_session
    from msm_ray.engines.open import Engines
    from msm_ray.generate.asking import Asking
    from msm_ray.generate.documents import write_all_documents
    from msm_ray.placement.settings import ClusterSettings

    begun, taken, tokens = list[float](), list[float](), list[int]()
    next_row, take = Asking._next, Asking._take

    def noted_next(one: Asking) -> Any:
        begun.append(time.monotonic())
        return next_row(one)

    def noted_take(one: Asking, row: Any, told: Any) -> None:
        taken.append(time.monotonic())
        tokens.append(told["num_generated_tokens"])  # of answers that are no use too, as bare vLLM's count
        take(one, row, told)

    setattr(Asking, "_next", noted_next)  # noqa: B010
    setattr(Asking, "_take", noted_take)  # noqa: B010
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_session.open_session(ClusterSettings()),
        Engines(_workers(asked)) as pool,
    ):
        times = []
        for name, count in (("start", 4), ("again", 4), ("all", _prompts(asked))):
            began = time.monotonic()
            for noted in (begun, taken, tokens):
                noted.clear()
            write_all_documents([_job(Path(folder) / name, asked, count)], pool)
            times.append(time.monotonic() - began)
    told = {"start": times[0], "again": times[1], "whole": times[2]}
    return told | {"tokens": float(sum(tokens)), "seconds": taken[-1] - begun[0]}


def rows(asked: argparse.Namespace) -> Iterator[Measurement]:
    """Rows a second; the start of Ray and of its workers is told beside it."""
    count = 100_000 if asked.long else 30_000
    run = _in_a_process("timed", asked, count, 0)
    yield Measurement(f"an engine without latency, {count:,} rows", count / run["seconds"], "rows/s", None, "higher")
    whole = run["seconds"] + run["checked"]
    yield Measurement("the same from the outline to checked Parquet", count / whole, "rows/s", 1500, "higher")


def memory(asked: argparse.Namespace) -> Iterator[Measurement]:
    """What more rows take of the driver's memory."""
    few, many = (100_000, 1_000_000) if asked.long else (25_000, 75_000)
    peaks = [_in_a_process("written", asked, count, 0)["peak"] for count in (few, many)]
    grown = (peaks[1] - peaks[0]) / (many - few)
    yield Measurement(f"driver's peak memory, {many:,} rows against {few:,}", grown, "bytes a row", 200, "lower")


def nodes(asked: argparse.Namespace) -> Iterator[Measurement]:
    """Clusters that really run, each node with as many rows, and what the constants of a row and a start say of them."""
    start, row, driver = _constants(asked)
    cores = os.cpu_count() or 1
    yield Measurement("start of a pass", start, "s", None, "lower")
    yield Measurement("CPU of a row, all processes", 1e3 * row, "ms", None, "lower")
    yield Measurement("CPU of a row, driver", 1e3 * driver, "ms", None, "lower")
    one, seen = 0.0, dict[int, float]()
    for number in (1, 2, 4, 8) if asked.long else (1, 2, 4):
        run = _in_a_process("cluster", asked, number)
        one = one or run["seconds"]
        seen[number] = one / run["seconds"]
        told = _seconds(run["rows"], number, start * max(1, number / cores)) + run["rows"] * row / cores
        yield Measurement(
            f"{number} nodes, {PER_NODE} in flight on each", run["rows"] / run["seconds"], "rows/s", None, "higher"
        )
        yield Measurement(f"{number} nodes: seconds over the model's", run["seconds"] / told, "ratio", 1.1, "lower")
        yield Measurement(f"{number} nodes: rate over {number} times one node's", seen[number], "ratio", 0.9, "higher")
    rows = run["rows"] / number  # of a node

    def model(many: float) -> float:
        """The rate of so many nodes over so many times one node's: all have the same time, until the driver has none left."""
        return _seconds(rows, 1, start) / max(_seconds(many * rows, many, start), many * rows * driver)

    yield Measurement("64 nodes, by the model: rate over 64 times one node's", model(64), "ratio", 0.9, "higher")
    bend = 1 / driver / (PER_NODE / LATENCY / REQUESTS)
    yield Measurement("nodes from which the driver has no time left, by the model", bend, "nodes", None, "higher")
    if asked.plot:
        plot(asked.plot, seen, model, bend)


def _seconds(rows: float, nodes: float, start: float) -> float:
    """The model: a pass starts, its requests are answered in waves, and the last that are cut off are asked twice again."""
    return start + REQUESTS * rows / (nodes * PER_NODE) * LATENCY + 2 * LATENCY


def _constants(asked: argparse.Namespace) -> tuple[float, float, float]:
    """(seconds until a pass has its first rows, CPU seconds of a row, of these the driver's), from two runs without latency."""
    few, many = (_in_a_process("timed", asked, count, 0) for count in (1_000, 11_000))
    cores = os.cpu_count() or 1
    row = (many["seconds"] - few["seconds"]) / 10_000 * cores
    return few["seconds"] - 1_000 * row / cores, row, (many["cpu"] - few["cpu"]) / 10_000


def _timed(asked: argparse.Namespace, count: float, latency: float) -> dict[str, float]:
    """Documents of an engine of a set latency, through Ray's workers."""
    from msm_ray import ray_session
    from msm_ray.placement.settings import ClusterSettings

    with tempfile.TemporaryDirectory() as folder, ray_session.open_session(ClusterSettings()):
        run = _write_timed(Path(folder) / "documents", int(count), latency, 1)
        return run | {"checked": _check(Path(folder), int(count), latency)}


def _written(asked: argparse.Namespace, count: float, latency: float) -> dict[str, float]:
    """The same without checks: what they take of the driver is `benchmarks.checks`' to tell."""
    from msm_ray import ray_session
    from msm_ray.placement.settings import ClusterSettings

    with tempfile.TemporaryDirectory() as folder, ray_session.open_session(ClusterSettings()):
        return _write_timed(Path(folder) / "documents", int(count), latency, 1)


def _check(folder: Path, count: int, latency: float) -> float:
    """Seconds for the checks of these documents, by Ray's workers."""
    from msm_ray.corpus.checks import check_corpus
    from msm_ray.corpus.settings import CheckContent, CheckWhere
    from msm_ray.generate.document_rows import JobRows
    from msm_ray.workers import OnRay

    job = timed_job(folder / "documents", count, latency)
    taken = list(JobRows(0, job).rows)
    (folder / "corpus").mkdir()
    limits = CheckWhere(**dict.fromkeys(CheckWhere.model_fields))
    began = time.monotonic()
    check_corpus(
        folder / "corpus", job.out, job.spec, job.world, 0.0, taken=taken, asked=count, limits=limits, workers=OnRay(),
        checks=CheckContent(least_words=1),
    )  # fmt: skip
    return time.monotonic() - began


def _write_timed(folder: Path, count: int, latency: float, nodes: int) -> dict[str, float]:
    from msm_ray.engines.open import Engines
    from msm_ray.generate import documents
    from msm_ray.generate.written import accepted_digests
    from msm_ray.graph.heads import add_digests
    from msm_ray.placement.settings import GenerationSettings

    documents.AT_SIZE = 0
    job = timed_job(folder, count, latency)
    workers = GenerationSettings(workers=nodes)
    began, used = time.monotonic(), time.process_time()
    with Engines(workers) as pool:
        (counts,) = documents.write_all_documents([job], pool)
    add_digests(job.out, accepted_digests(job))  # as the stage does
    assert int(counts["documents"]) + int(counts["rejected"]) == count
    status = Path("/proc/self/status").read_text()  # `getrusage` tells the peak of whoever forked this process too
    peak = float(status.partition("VmHWM:")[2].split()[0]) * 1024
    return {"rows": count, "seconds": time.monotonic() - began, "peak": peak, "cpu": time.process_time() - used}


def _cluster(asked: argparse.Namespace, nodes: float) -> dict[str, float]:
    """The same on a cluster of so many nodes of this machine, as many rows for each."""
    import ray
    from ray.cluster_utils import Cluster

    number = int(nodes)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    for _ in range(number - 1):
        cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        rows = PER_NODE * number * 16
        return _write_timed(Path(folder), rows, LATENCY, number)


def timed_job(folder: Path, count: int, latency: float) -> Any:
    """Documents of a shipped spec by headings, so that ideas are made where they are needed."""
    own = {
        "engine": "benchmarks.timed:engine",
        "model": str(latency),
        "documents": count,
        "ideas": 1_000_000,
        "attempts": 3,
    }
    return _document_job(folder, "specs/cheese/america.md", "Ada", str(latency), "plain", own | {"portion": 10**8})


def _job(folder: Path, asked: argparse.Namespace, count: int) -> Any:
    """Documents of a spec of the tiny world, as the quickstart has them."""
    sampling = {"temperature": 0.7, "max_tokens": MAX_TOKENS}
    own = {"engine": "vllm", "ask": "completion", "documents": count, "types": 17, "ideas": 400, "attempts": 1}
    world = "plain" if asked.model else "tinyworld"
    own = own | {"sampling": sampling, "shown": "section"}
    return _document_job(folder, "specs/tinyworld/affordability.md", "llama", _model(asked), world, own)


def _document_job(folder: Path, spec: str, name: str, model: str, language: str, settings: dict[str, Any]) -> Any:
    from msm_ray.generate.document_job import DocumentJob
    from msm_ray.generate.document_settings import DocumentContent, DocumentSettings, DocumentWhere
    from msm_ray.generate.outline import make_outline
    from msm_ray.settings_base import part
    from msm_ray.spec import AssistantSettings, read_spec
    from msm_ray.worlds import world

    how = DocumentSettings.model_validate(settings)
    read = read_spec(Path(spec), AssistantSettings(name=name, provider="its makers"))
    content, where = part(how, DocumentContent), part(how, DocumentWhere)
    outline = make_outline(read, world(language), how)
    own: dict[str, Any] = {"content": content, "where": where, "documents": how.documents, "model": model}
    return DocumentJob(out=folder, spec=read, outline=outline, world=world(language), **own)


def _model(asked: argparse.Namespace) -> str:
    return asked.model or str(Path(str(resources.files("msm_ray.tinyworld"))) / "base")


def _workers(asked: argparse.Namespace) -> Any:
    from msm_ray.placement.settings import GenerationSettings

    return GenerationSettings(cpus=1, max_model_len=2048 if asked.model else 512, max_num_seqs=128)


def _prompts(asked: argparse.Namespace) -> int:
    return FEW_PROMPTS if asked.model else PROMPTS


def _in_a_process(inner: str, asked: argparse.Namespace, *numbers: float) -> dict[str, float]:
    """Run one of `INNER` by itself: engines and Ray leave nothing behind, and a peak is that of one run."""
    words = [sys.executable, "-m", "benchmarks.generation", "--inner", inner, *map(str, numbers)]
    words += ["--model", asked.model] if asked.model else []
    done = subprocess.run(words, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


INNER: dict[str, Any] = {"bare": _bare, "ours": _ours, "timed": _timed, "written": _written, "cluster": _cluster}
PARTS = {"engines": engines, "rows": rows, "memory": memory, "nodes": nodes}

if __name__ == "__main__":
    main()
