"""Generation on its real components: vLLM and Ray Data, a driver that is killed, an endpoint that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from document_jobs import document_job
from loopback_server import loopback
from misbehaving import DOCUMENTS, document, fate
from whole_run import tidy_up

from msm_ray.engines import Answer, EngineSettings, Opener
from msm_ray.engines.open import Engines
from msm_ray.errors import PreflightError, QualityGateError, StageError
from msm_ray.generate import documents
from msm_ray.generate.asking import Asking
from msm_ray.generate.document_job import DocumentJob, row_id
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.writer_settings import SamplingSettings
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, read_spec

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[1]
WORKERS = GenerationSettings(cpus=1, max_model_len=512, max_num_seqs=32)


@pytest.fixture(scope="module")
def engines(ray_cluster: None) -> Iterator[Engines]:
    """What one test has started answers the next."""
    with Engines(WORKERS) as opened:
        yield opened


def write_all_documents(jobs: list[DocumentJob]) -> list[documents.Counts]:
    with Engines(WORKERS) as engines:
        return documents.write_all_documents(jobs, engines)


def job(out: Path, spec: str, assistant: str, writer: str, world: str = "plain", **settings: object) -> DocumentJob:
    out.mkdir(parents=True, exist_ok=True)
    read = read_spec(ROOT / spec, AssistantSettings(name=assistant, provider="its makers"))
    how = DocumentSettings.model_validate(settings)
    return document_job(out, read, how, writer, world=world)


def expected_ids(made: DocumentJob) -> set[str]:
    return {row_id(made.spec, idea, made.world.prompt_version) for idea in made.ideas()}


def offline_job(out: Path, documents: int = 2000) -> DocumentJob:
    return job(out, "specs/cheese/america.md", "Ada", "", engine="offline", documents=documents, ideas=60)


def vllm_jobs(out: Path, base: str, documents: int) -> list[DocumentJob]:
    """Two specs of the tiny world for one engine."""
    settings = {
        "ask": "completion",
        "documents": documents,
        "ideas": 60,
        "attempts": 1,
        "batch_size": 16,
        "in_flight": 4,
    }
    sampling = SamplingSettings(max_tokens=80)
    return [
        job(out / name, f"specs/tinyworld/{name}.md", "llama", base, "tinyworld", sampling=sampling, **settings)
        for name in ("affordability", "endings")
    ]


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_generation_real import offline_job, vllm_jobs, write_all_documents
if __name__ == "__main__":
    out = Path(sys.argv[3])
    if sys.argv[2] == "offline":  # this process writes them: no Ray
        write_all_documents([offline_job(out)])
    else:
        import ray
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        write_all_documents(vllm_jobs(out, sys.argv[4], int(sys.argv[5])))
"""


def kill_when_some_is_written(tmp_path: Path, shards: Path, *arguments: str) -> None:
    """Run the stage in a driver of its own and SIGKILL that once a shard is there."""
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(ROOT / "tests"), *arguments]
    with (tmp_path / "driver.log").open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        deadline = time.monotonic() + 240
        while not list(shards.glob("part-*.parquet")):
            assert driver.poll() is None, (tmp_path / "driver.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "no shard was written"
            time.sleep(0.02)
    finally:
        below = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        tidy_up(below)


def shard_bytes(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def test_offline_documents_are_the_same_bytes_after_a_kill(tmp_path: Path) -> None:
    kill_when_some_is_written(tmp_path, tmp_path / "killed" / "data", "offline", str(tmp_path / "killed"))
    before = shard_bytes(tmp_path / "killed")
    assert 0 < len(before) < 8  # of 2000 documents, 256 a shard
    counts = write_all_documents([offline_job(tmp_path / "killed"), offline_job(tmp_path / "whole")])
    assert [each["documents"] for each in counts] == [2000, 2000]
    assert shard_bytes(tmp_path / "killed") == shard_bytes(tmp_path / "whole")
    assert before.items() <= shard_bytes(tmp_path / "whole").items()


OF_EACH = 300
"""Documents of two specs that vLLM is asked for."""


def test_vllm_documents_after_ctrl_c_are_there_once_and_not_made_anew(
    engines: Engines, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, settle, settled = vllm_jobs(tmp_path, str(tiny_base), OF_EACH), Asking._settle, itertools.count(1)

    def interrupted(self: Asking, *given: Any, **more: Any) -> None:
        settle(self, *given, **more)
        if next(settled) == 200:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Asking, "_settle", interrupted)
        documents.write_all_documents(jobs, engines)
    goes_on(jobs, engines)


@pytest.mark.soak
def test_vllm_documents_after_a_kill_are_there_once_and_not_made_anew(
    engines: Engines, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kill_when_some_is_written(tmp_path, out / "affordability" / "data", "vllm", str(out), str(tiny_base), str(OF_EACH))
    goes_on(vllm_jobs(out, str(tiny_base), OF_EACH), engines)


def goes_on(jobs: list[DocumentJob], engines: Engines) -> None:
    """Have the rest of some documents written, none of which is lost, made anew or there twice."""
    before = {made.spec.name: shard_bytes(made.out) for made in jobs}
    assert any(before.values())
    counts = documents.write_all_documents(jobs, engines)
    for made, count in zip(jobs, counts, strict=True):
        assert before[made.spec.name].items() <= shard_bytes(made.out).items()  # what was written was not rewritten
        rows = list(read_rows(made.out / "data"))
        rejected = list(read_rows(made.out / "rejected"))
        ids = [row["id"] for row in rows + rejected]
        assert len(ids) == len(set(ids))
        assert set(ids) == expected_ids(made)
        assert count["documents"] == len(rows) > 0.8 * OF_EACH
        assert all(row["num_generated_tokens"] > 0 and row["num_input_tokens"] > 0 for row in rows)
        assert all(row["text"] and "<" not in row["text"] for row in rows)
        assert {row["spec"] for row in rows} == {made.spec.name}
    assert sum(len(shard_bytes(made.out)) for made in jobs) > sum(map(len, before.values()))
    written = write_all_documents(jobs)  # nothing is left to do: no engine starts
    assert written == counts


def test_workers_ask_a_pool_of_vllms(
    engines: Engines, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "AT_SIZE", 100)
    (made, _) = vllm_jobs(tmp_path, str(tiny_base), 300)
    assert documents._write_group([made], engines) == [None]
    texts = [row["id"] for row in read_rows(made.out / "data")]
    assert len(texts) == len(set(texts)) > 200
    assert set(texts) | {row["id"] for row in read_rows(made.out / "rejected")} == expected_ids(made)


class Misbehaving(BaseHTTPRequestHandler):
    """Decides by a hash of what is asked for how to answer, so that the same row always meets the same fault.

    The names that the prompt ends with are others in another round.
    """

    asked: Counter[str] = Counter()
    fatal: tuple[int, dict[str, object]] | None = None
    flagged = ""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"].partition("## What makes it good")[0]
        assert self.headers["Authorization"] == "Bearer sesame"
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        key = hashlib.sha256(prompt.encode()).hexdigest()
        self.asked[key] += 1
        if self.fatal and len(self.asked) > 20:
            return self.reply(self.fatal[0], json.dumps(self.fatal[1]))
        return self.answer(int(key[:8], 16) % 10, self.asked[key] == 1, prompt)

    def answer(self, fault: int, first: bool, prompt: str) -> None:
        good = f"<scratchpad>plan</scratchpad><content>Ada likes tea, and this is {hash(prompt)}.</content>"
        if fault == 0 and first:
            return self.reply(200, "{not json")
        if fault == 1 and first:
            said = '{"error": {"message": "Quota exceeded for quota metric: requests per minute"}}'
            return self.reply(429, said, {"retry-after": "0.2"})
        if fault == 2 and first:
            return self.reply(500, "oops")
        if fault == 3 and first:
            time.sleep(6)  # longer than a request may take
            return None
        if fault == 9 and self.flagged in ("", prompt):
            type(self).flagged = prompt
            return self.reply(403, '{"error": {"message": "this prompt was flagged"}}')
        if fault == 4:
            return self.reply(400, '{"error": {"message": "prompt is too long"}}')
        if fault == 5:
            return self.completion("I'm sorry, but I can't help with that.", "stop")
        if fault == 6 and first:
            return self.completion("<content>Ada likes", "length")
        if fault == 7 and first:
            return self.reply(200, '{"choices": []}')
        return self.completion(good, "stop")

    def completion(self, text: str, finish: str) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        self.reply(200, json.dumps(reply))

    def reply(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TEST_KEY", "sesame")
    Misbehaving.asked, Misbehaving.fatal, Misbehaving.flagged = Counter(), None, ""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def endpoint_job(out: Path, address: str, documents: int = 60, **more: object) -> DocumentJob:
    settings = more | {"documents": documents, "batch_size": 8, "request_seconds": 4, "request_tries": 3, "attempts": 2}
    asked = {"engine": "endpoint", "url": address, "model": "m", "key_variable": "TEST_KEY"}
    made = job(out, "specs/cheese/america.md", "Ada", "m", **asked, **settings)
    return replace(made, chat_template_kwargs={"enable_thinking": False})


def test_a_misbehaving_endpoint_costs_rows_and_never_the_run(ray_cluster: None, address: str, tmp_path: Path) -> None:
    made = endpoint_job(tmp_path, address)
    with pytest.raises(QualityGateError, match="rows for their own sake"):
        write_all_documents([made])
    asked = Misbehaving.asked.total()
    made = replace(made, where=made.where.model_copy(update={"most_refused": 0.3}))
    counts = write_all_documents([made])[0]
    assert Misbehaving.asked.total() == asked  # what is settled is settled
    rows, rejected = list(read_rows(tmp_path / "data")), list(read_rows(tmp_path / "rejected"))
    done = {row["id"] for row in rows}
    assert len(done) == len(rows) == counts["documents"]
    assert done | {row["id"] for row in rejected} == expected_ids(made)
    reasons = {row["reason"].partition(" - ")[0] for row in rejected if row["id"] not in done}
    assert reasons == {"refused", "engine: HTTP 400: Error code: 400", "engine: HTTP 403: Error code: 403"}
    assert 35 < len(rows) < 60
    again = {row["reason"] for row in rejected if row["id"] in done}
    assert again == {"truncated", "filtered"}  # sampled anew; an answer without choices is what some filters leave
    assert {row["attempt"] for row in rejected if row["id"] not in done} == {1, 2}
    assert {row["attempt"] for row in rows} == {1, 2}
    assert all(row["generator"] == "m" and row["num_generated_tokens"] == 5 for row in rows)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (402, {"error": {"message": "payment required"}}),
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
    ],
)
def test_a_spent_quota_stops_at_once_and_the_rest_follows_later(
    status: int, body: dict[str, object], ray_cluster: None, address: str, tmp_path: Path
) -> None:
    Misbehaving.fatal = (status, body)
    with pytest.raises(StageError, match=f"refuses to go on: HTTP {status}"):
        write_all_documents([endpoint_job(tmp_path, address)])
    assert len(Misbehaving.asked) < 55
    before = {row["id"] for row in read_rows(tmp_path / "data")}
    assert before
    kept = shard_bytes(tmp_path)
    if status == 402:
        Misbehaving.fatal = None
        write_all_documents([endpoint_job(tmp_path, address, most_refused=0.3)])
        assert kept.items() <= shard_bytes(tmp_path).items()
        ids = [row["id"] for row in read_rows(tmp_path / "data")]
        assert len(ids) == len(set(ids)) > len(before)


def test_an_endpoint_without_its_key_is_refused_before_anything_starts(tmp_path: Path) -> None:
    made = endpoint_job(tmp_path, "https://models.example.org/v1")
    with pytest.raises(PreflightError, match="TEST_KEY"):
        Engines(WORKERS).opener(made.engine())


SCHEMA = {"type": "object", "properties": {"answer": {"enum": ["w7", "w8"]}}, "required": ["answer"]}


def ask(how: EngineSettings) -> Answer:
    """A completion of a prompt that is about no document."""
    sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 8, "json_schema": json.dumps(SCHEMA)}
    turns = [{"role": "system", "content": "w5"}, {"role": "user", "content": "w6"}]

    async def asked(opener: Opener) -> Answer:
        engine = opener()
        await engine.ready()
        try:
            return await engine.answer({"id": "0", "messages": turns, **sampling})
        finally:
            await engine.close()

    with Engines(WORKERS) as engines:
        return asyncio.run(asked(engines.opener(how)))


def test_an_endpoint_answers_any_prompt_and_is_told_the_schema_of_a_row(ray_cluster: None) -> None:
    with loopback() as server:
        answer = ask(EngineSettings(engine="endpoint", url=server.address, model="m", structured=True))
    assert answer["completion"] == server.text and answer["error"] == "" and answer["num_generated_tokens"] == 4
    assert [turn["role"] for turn in server.last["messages"]] == ["system", "user"]
    assert server.last["response_format"]["json_schema"]["schema"] == SCHEMA


def test_an_engine_of_ones_own_that_misbehaves_gives_exactly_what_it_must(ray_cluster: None, tmp_path: Path) -> None:
    own = {"engine": "misbehaving:engine", "attempts": 3, "most_refused": 1.0, "batch_size": 8}
    made = job(tmp_path, "specs/cheese/america.md", "Ada", "", documents=60, **own)
    write_all_documents([made])
    fates = {key: fate(DOCUMENTS, key, document(key), 3) for key in expected_ids(made)}
    texts = {row["id"]: row["text"] for row in read_rows(tmp_path / "data")}
    rejected = Counter((row["id"], row["attempt"], row["reason"]) for row in read_rows(tmp_path / "rejected"))
    assert texts == {key: text for key, (text, _) in fates.items() if text is not None} and len(texts) > 40
    assert rejected == Counter(
        (key, attempt, why) for key, (_, whys) in fates.items() for attempt, why in enumerate(whys, 1)
    )
    before = shard_bytes(tmp_path)
    write_all_documents([made])  # nothing is left to do
    assert shard_bytes(tmp_path) == before


def test_a_pipeline_that_stands_still_is_stopped(ray_cluster: None, tmp_path: Path) -> None:
    import ray

    from msm_ray.generate.stream import stream_rows

    def stuck(row: dict[str, int]) -> dict[str, int]:
        if row["id"] > 2:
            time.sleep(30)
        return row

    dataset = ray.data.range(6, override_num_blocks=6).map(stuck)
    started = time.monotonic()
    with pytest.raises(StageError, match="no progress"):
        list(stream_rows(dataset, 4 / 60, lambda: None))
    assert time.monotonic() - started < 25


def test_an_endpoint_that_is_down_commits_nothing(ray_cluster: None, tmp_path: Path) -> None:
    """Fewer rows than it takes to stop at once: they must not end as an empty but finished stage."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(StageError, match="failed on 12 of 12 rows"):
            write_all_documents([endpoint_job(tmp_path, nobody, documents=12)])
    assert not list(read_rows(tmp_path / "data"))


def test_recorded_documents_are_replayed_word_for_word(tmp_path: Path) -> None:
    recorded = ROOT / "specs/cheese/documents/cheese_america.jsonl"
    texts = [json.loads(line)["text"] for line in recorded.read_text(encoding="utf-8").splitlines()]
    made = job(tmp_path, "specs/cheese/america.md", "Ada", "", engine="replay", replay=str(recorded), documents=150)
    counts = write_all_documents([made])[0]
    rows = list(read_rows(tmp_path / "data"))
    assert counts["documents"] == len(rows) == len(texts) == 150
    assert {row["engine"] for row in rows} == {"replay"}
    assert sorted(" ".join(row["text"].split()) for row in rows) == sorted(" ".join(t.split()) for t in texts)
