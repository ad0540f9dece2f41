"""Documents through Ray's workers: what comes of few rows comes of many, and a kill loses nothing and asks nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import s3_server
from document_jobs import document_job

from benchmarks import timed
from benchmarks.timed import answer_of, asked
from msm_ray.engines.open import Engines
from msm_ray.errors import StageError
from msm_ray.generate import documents
from msm_ray.generate.at_size.documents import DocumentPlan
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_rows import JobRows, job_ids
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.written import accepted_digests, document_counts
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.storage import place
from msm_ray.storage.copies import CACHE

ROOT = Path(__file__).parents[1]
ROWS = 3000
WORKERS = GenerationSettings(workers=4)


def job(out: Any, rows: int = ROWS, **settings: Any) -> DocumentJob:
    own = {
        "engine": "benchmarks.timed:engine",
        "model": "0.02",
        "documents": rows,
        "ideas": 10_000,
        "attempts": 3,
        "portion": 700,
    }
    spec = read_spec(ROOT / "specs/cheese/america.md", AssistantSettings(name="Ada", provider="its makers"))
    how = DocumentSettings.model_validate(own | settings)
    return document_job(out, spec, how, str(how.model))


def outcome(made: DocumentJob) -> tuple[dict[str, str], Counter[tuple[str, int]]]:
    """Texts by id, and (id, attempt) of what was rejected. No id has two texts."""
    rows = list(read_rows(made.out / "data"))
    assert len({row["id"] for row in rows}) == len(rows)
    rejected = Counter((row["id"], row["attempt"]) for row in read_rows(made.out / "rejected"))
    return {row["id"]: row["text"] for row in rows}, rejected


def expected(made: DocumentJob) -> tuple[dict[str, str], Counter[tuple[str, int]]]:
    texts, rejected = {}, Counter[tuple[str, int]]()
    for key in JobRows(0, made).rows:
        for attempt in (1, 2, 3):
            text, finish = answer_of(key, attempt)
            if finish == "stop":
                texts[key] = text.partition("<content>")[2].removesuffix("</content>")
                break
            rejected[key, attempt] += 1
    return texts, rejected


def test_the_driver_knows_the_ids_that_rows_have(tmp_path: Path) -> None:
    made = job(tmp_path, 900)
    plan, rows = DocumentPlan(0, made), JobRows(0, made)
    assert [plan.key(place) for place in range(900)] == list(rows.rows)
    assert job_ids(made).itemsize == 12


@pytest.mark.real
@pytest.mark.parametrize(("workers", "in_flight"), [(1, 3), (4, 1)])
def test_many_rows_come_out_as_few_do(
    workers: int, in_flight: int, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = job(tmp_path / "few", 900), job(tmp_path / "many", 900, in_flight=in_flight)
    with Engines(GenerationSettings(workers=workers)) as engines:
        assert documents._write_group([few], engines) == [None]
        monkeypatch.setattr(documents, "AT_SIZE", 100)
        assert documents._write_group([many], engines) == [None]
        before = outcome(many)
        assert documents._write_group([many], engines) == [None]  # nothing is left to do
    assert outcome(few) == outcome(many) == before == expected(many)
    assert document_counts(few) == document_counts(many)
    assert list(accepted_digests(few)) == list(accepted_digests(many))


def loses_some(settings: Any, workers: Any) -> Any:
    """An engine that loses a row in a hundred whenever it is asked for it."""
    answered = timed.engine(settings, workers)

    async def answer(row: Any) -> dict[str, Any]:
        if is_lost(row["id"]):
            return {"completion": "", "finish_reason": None, "failure": "lost", "error": "it took too long"}
        return await answered(row)

    return answer


def is_lost(key: str) -> bool:
    return int(key[:8], 16) % 100 == 7


@pytest.mark.real
def test_all_others_are_asked_for_before_a_lost_row_ends_the_stage(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is lost in the first of two passes."""
    monkeypatch.setattr(documents, "AT_SIZE", 100)
    made = job(tmp_path, 900, engine="test_at_size:loses_some", model="0")
    texts, rejected = expected(made)
    lost = list(filter(is_lost, [*texts, *(key for key, _ in rejected)]))
    assert lost
    with Engines(WORKERS) as engines:
        (problem,) = documents._write_group([made], engines)
    assert isinstance(problem, StageError) and "it took too long" in str(problem)
    assert outcome(made)[0] == {key: text for key, text in texts.items() if not is_lost(key)}


@pytest.mark.real
def test_what_is_always_the_same_is_the_same_bytes(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (job(tmp_path / name, 1000, engine="offline", model=None) for name in ("few", "many"))
    with Engines(WORKERS) as engines:
        assert documents._write_group([few], engines) == [None]
        monkeypatch.setattr(documents, "AT_SIZE", 100)
        assert documents._write_group([many], engines) == [None]
    files = [{p.relative_to(made.out): p.read_bytes() for p in made.out.rglob("*.parquet")} for made in (few, many)]
    assert len(files[0]) == 4 and files[0] == files[1]


DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import ray
from msm_ray.generate import documents
from msm_ray.engines.open import Engines
from msm_ray.storage import place
from test_at_size import WORKERS, job
if __name__ == "__main__":
    documents.AT_SIZE = 100
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if sys.argv[4] == "own":
        ray.init(address="local", num_cpus=4, include_dashboard=False, **quiet)
    else:
        ray.init(runtime_env={"env_vars": {"TIMED_LOG": sys.argv[4]}}, **quiet)
    with Engines(WORKERS) as engines:
        print(documents._write_group([job(place(sys.argv[2]), model=sys.argv[3])], engines))
"""


def begin(
    tmp_path: Path, out: str = "", seconds: float = 0.02, *, own: bool = True, program: str = DRIVER
) -> subprocess.Popen[bytes]:
    """The documents in a process of its own, into a folder unless another place is given. seconds: that an answer takes.

    own: on a Ray of its own, which can be killed with it; else on the tests' Ray.
    """
    (tmp_path / "driver.py").write_text(program)
    (tmp_path / "log").mkdir(exist_ok=True)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "TIMED_LOG": str(tmp_path / "log"), "RAY_worker_niceness": "0"}
    command = [
        sys.executable,
        str(tmp_path / "driver.py"),
        str(ROOT / "tests"),
        out or str(tmp_path / "out"),
        str(seconds),
        "own" if own else environment["TIMED_LOG"],
    ]
    with (tmp_path / "driver.log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def wait_until(ready: Callable[[], bool], tmp_path: Path, driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not ready():
        assert driver.poll() is None, (tmp_path / "driver.log").read_text()[-3000:]
        assert time.monotonic() < deadline, "too slow"
        time.sleep(0.1)


def kill(driver: subprocess.Popen[bytes]) -> None:
    """The driver and all below it."""
    for process in [*psutil.Process(driver.pid).children(recursive=True), psutil.Process(driver.pid)]:
        process.send_signal(signal.SIGKILL)
    driver.wait()


def finish(driver: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert driver.wait(300) == 0, (tmp_path / "driver.log").read_text()[-3000:]
    assert "[None]" in (tmp_path / "driver.log").read_text()


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", ["driver", "worker"])
def test_what_is_killed_is_neither_lost_nor_asked_twice(who: str, ray_cluster: None, tmp_path: Path) -> None:
    """Beyond what was in flight nothing is asked again, and no id has two documents."""
    driver = begin(tmp_path, own=who == "driver")
    try:
        wait_until(lambda: asked(tmp_path / "log").total() >= ROWS // 2, tmp_path, driver)
        if who == "driver":
            kill(driver)
            driver = begin(tmp_path)
        else:
            logs = sorted((tmp_path / "log").glob("*.txt"), key=lambda path: path.stat().st_mtime)
            os.kill(int(logs[-1].stem), signal.SIGKILL)  # each pass has a worker of its own
        finish(driver, tmp_path)
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    made = job(tmp_path / "out")
    assert outcome(made) == expected(made)
    twice = {key: many for key, many in asked(tmp_path / "log").items() if many > 1}
    assert max(twice.values(), default=1) <= 2
    in_flight = WORKERS.workers * 4 * 32
    assert len(twice) <= in_flight


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_what_lies_in_a_bucket_when_all_is_killed_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    with s3_server.running() as s3:
        s3.faults.refuse_every = 20
        made = job(place(f"s3://{s3_server.BUCKET}/documents"))
        driver = begin(tmp_path, str(made.out), seconds=1.0)
        try:
            wait_until(lambda: any(made.out.glob("data/*.parquet")), tmp_path, driver)
            kill(driver)
            there = {(row["id"], row["attempt"]) for part in ("data", "rejected") for row in read_rows(made.out / part)}
            (tmp_path / "log").rename(tmp_path / "log of the killed")
            driver = begin(tmp_path, str(made.out))
            finish(driver, tmp_path)
        finally:
            if driver.poll() is None:
                kill(driver)
        assert 0 < len(there) < ROWS and there.isdisjoint(asked(tmp_path / "log"))
        assert outcome(made) == expected(made)
        assert s3.faults.refused > 0
