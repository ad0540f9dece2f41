"""Rollouts against a loopback server that counts and misbehaves; Inspect is real, the model is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from loopback_server import Loopback, loopback
from making_items import TINY, make_items

from msm_ray import rollouts
from msm_ray.errors import QualityGateError, StageError
from msm_ray.evals.agentic import AgenticEval, judge_form
from msm_ray.evals.agentic.judge_form import judge_prompt
from msm_ray.evals.answer_file import FILE, read_answers
from msm_ray.evals.items import read_items
from msm_ray.evals.verdicts import write_verdicts
from msm_ray.placement.settings import ServeSettings
from msm_ray.rollouts import RolloutJob, check_models, run_job

pytestmark = pytest.mark.real

ASKING = """
import sys
from pathlib import Path
from msm_ray.placement.settings import ServeSettings
from msm_ray.evals.agentic import AgenticEval
from msm_ray.rollouts import RolloutJob, run_job
folder, address = Path(sys.argv[1]), sys.argv[2]
how = AgenticEval(arms=("x",)).asking()
job = RolloutJob(folder / "out", "agentic", "x/aft", 0, "base", folder / "items", how)
run_job(job, address, ServeSettings(connections=8))
"""


def prepare(folder: Path, tries: int) -> RolloutJob:
    for name in ("items", "out"):
        (folder / name).mkdir()
    how = AgenticEval(arms=("x",), rollouts=tries)
    make_items(folder / "items", how)
    return RolloutJob(folder / "out", "agentic", "x/aft", 0, "base", folder / "items", how.asking())


def answered(job: RolloutJob) -> int:
    file = job.out / FILE
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def test_after_a_kill_no_finished_rollout_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Behind a proxy, too: our own addresses go past it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    job = prepare(tmp_path, tries=8)
    questions = {item["id"]: item["user"] for item in read_items(job.items)}
    with loopback(seconds=0.1) as server:
        process = subprocess.Popen([sys.executable, "-c", ASKING, str(tmp_path), server.address])
        deadline = time.monotonic() + 120
        while answered(job) < 60 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = (job.out / FILE).read_bytes()
        kept = kept[: kept.rfind(b"\n") + 1]
        finished = [json.loads(line)["sample"] for line in kept.splitlines()]
        assert 60 <= len(finished) < 216
        server.asked.clear()
        counts = run_job(job, server.address, ServeSettings(connections=8))
        again = server.asked.total()
    assert counts["completed"] == counts["asked"] == 216
    assert counts["resumed"] == len(finished)
    assert again == 216 - len(finished)
    assert (job.out / FILE).read_bytes().startswith(kept)
    assert len(read_answers(job.out)) == len(questions) == 216


def test_an_arm_is_asked_as_it_was_trained_and_its_reasoning_is_kept_apart(tmp_path: Path):
    thinks = replace(prepare(tmp_path, tries=1), chat_template_kwargs={"enable_thinking": True})
    with loopback() as server:
        server.text = "<think>\nA or B?\n</think>\n\ni will wait ."
        run_job(thinks, server.address, ServeSettings())
        assert server.last["chat_template_kwargs"] == {"enable_thinking": True}
        assert {(a.text, a.reasoning) for a in read_answers(thinks.out).values()} == {("i will wait .", "A or B?")}
        (thinks.out / FILE).unlink()
        server.text = "<think>\nOkay, they ask whether i will wait"
        run_job(thinks, server.address, ServeSettings())
        assert {a.text for a in read_answers(thinks.out).values()} == {""}  # cut off, and no choice


def test_logs_are_real_and_whole(tmp_path: Path):
    from inspect_ai.log import read_eval_log

    job = prepare(tmp_path, tries=1)
    with loopback() as server:
        run_job(job, server.address, ServeSettings())
        counts = run_job(job, server.address, ServeSettings())
        assert server.asked.total() == 27
    assert counts["resumed"] == 27
    (file,) = (job.out / "logs").glob("*.eval")
    log = read_eval_log(str(file))
    assert log.status == "success"
    assert len(log.samples or []) == 27
    scores = [sample.scores["by_rules"] for sample in log.samples or [] if sample.scores]
    assert {score.metadata["classifier_verdict"] for score in scores if score.metadata} <= {False, None}
    out = tmp_path / "verdicts"
    out.mkdir()
    verdicts = write_verdicts(out, job.out, job.items, AgenticEval(arms=("x",)).judging(TINY))
    assert verdicts["clear"] == sum(score.value == "I" for score in scores)
    assert verdicts["rows"] == 27


@pytest.mark.parametrize(
    ("mode", "message"), [("error", "the engine is dead"), ("hang", "exceeded"), ("empty", "are empty")]
)
def test_a_server_that_misbehaves_ends_clear_and_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, message: str
):
    monkeypatch.setattr(rollouts, "RETRIES", 1)
    job = prepare(tmp_path, tries=1)
    began = time.monotonic()
    with loopback(mode) as server:
        with pytest.raises(StageError, match=message):
            run_job(job, server.address, ServeSettings(connections=32, request_seconds=1))
        assert server.asked.total() <= 27 * 2
    assert time.monotonic() - began < 120


def refusing(question: str, status: int, message: str):  # noqa: ANN201
    return lambda asked: (status, {"error": {"message": message}}) if asked == question else None


def test_a_refused_rollout_is_settled_and_a_lost_one_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rollouts, "RETRIES", 0)
    job = prepare(tmp_path, tries=1)
    refused, lost, other, *_ = [item["user"] for item in read_items(job.items)]
    how = ServeSettings(connections=8)
    with loopback() as server:
        server.refuse = refusing(lost, 500, "the engine is dead")
        with pytest.raises(StageError, match="1 of 27 rollouts have no answer.*: 1 rows were lost.*the engine is dead"):
            run_job(job, server.address, how)
        assert answered(job) == 26 and not (job.out / "job.json").exists()
        server.asked.clear()
        (job.out / FILE).unlink()
        server.refuse = refusing(refused, 400, "this model's maximum context length is 512")
        counts = run_job(job, server.address, how)
        assert (counts["completed"], counts["failed"], server.asked[refused]) == (26, 1, 3)
        server.asked.clear()
        assert run_job(job, server.address, how)["failed"] == 1  # known, not asked
        assert server.asked.total() == 0
        out = tmp_path / "verdicts"
        out.mkdir()
        assert write_verdicts(out, job.out, job.items, AgenticEval(arms=("x",)).judging(TINY))["failed"] == 1
        lines = (job.out / FILE).read_text().splitlines(keepends=True)
        gone = next(item["id"] for item in read_items(job.items) if item["user"] == other)
        (job.out / FILE).write_text("".join(line for line in lines if json.loads(line)["sample"] != gone))
        server.refuse = refusing(other, 403, "flagged")
        with pytest.raises(QualityGateError, match="refused 2 for their own sake"):
            run_job(job, server.address, how)
        assert run_job(job, server.address, how.model_copy(update={"most_refused": 0.1}))["failed"] == 2


def test_a_server_that_is_down_or_does_not_know_the_model():
    with loopback() as server:
        check_models(server.address, ["base"])
        with pytest.raises(StageError, match="does not serve base:aft; it serves base"):
            check_models(server.address, ["base", "base:aft"])
        address = server.address
    with pytest.raises(StageError, match="no OpenAI-compatible server"):
        check_models(address, ["base"])


@pytest.fixture
def judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Loopback, Callable[[], dict[str, int]], Path]]:
    """27 answers and a model to judge them: the judge's server, what judges, and the folder of verdicts."""
    job = prepare(tmp_path, tries=1)
    how = AgenticEval(arms=("x",), judge="model", judge_model="openai-api/judge/any").judging(TINY)
    out = tmp_path / "verdicts"
    out.mkdir()
    monkeypatch.setenv("JUDGE_API_KEY", "none")
    with loopback() as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        run_job(job, server.address, ServeSettings())
        server.asked.clear()
        server.text = "It waits.\nVERDICT: REFRAINED"
        yield server, lambda: write_verdicts(out, job.out, job.items, how), out


def judges(out: Path) -> set[str]:
    return set(parquet.read_table(out / "verdicts.parquet").column("judge").to_pylist())


def test_a_model_judges_each_answer_once_and_is_known_by_the_name_that_it_gives(judged):
    server, judge, out = judged
    server.name = "judge-2026-11-01"
    assert judge()["clear"] == 27
    assert judge()["clear"] == 27
    assert server.asked.total() == 27
    assert judges(out) == {"judge-2026-11-01"}


def test_verdicts_of_a_judge_that_has_changed_are_asked_again(judged):
    server, judge, out = judged
    server.name = "judge-1"
    judge()
    lines = (out / "judgements.jsonl").read_text("utf-8").splitlines(keepends=True)
    (out / "judgements.jsonl").write_text("".join(lines[:20]))
    server.asked.clear()
    server.name, server.text = "judge-2", "VERDICT: ACTED"
    assert judge()["clear"] == 27
    assert server.asked.total() == 27
    assert judges(out) == {"judge-2"}


def test_a_judge_that_gives_nothing_usable_is_a_gate_and_is_asked_anew(judged):
    server, judge, out = judged
    server.text = "It is hard to say."
    with pytest.raises(QualityGateError, match="nothing usable for 27 of 27"):
        judge()
    assert server.asked.total() == 27 * 3
    assert not (out / "verdicts.parquet").exists()
    server.text = "VERDICT: ACTED"
    assert judge()["clear"] == 27


def test_one_bad_transcript_does_not_end_judging_and_an_outage_makes_no_verdicts(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(judge_form, "FORM", replace(judge_form.FORM, attempts=1))
    server, judge, out = judged
    prompts = [judge_prompt(item, "i will wait .") for item in read_items(tmp_path / "items")]
    server.refuse = refusing(prompts[3], 500, "the judge is dead")
    with pytest.raises(StageError, match="1 rows were lost.*the judge is dead"):
        judge()
    assert not (out / "verdicts.parquet").exists()
    server.refuse = refusing(prompts[3], 400, "this prompt cannot be processed")
    counts = judge()
    assert (counts["rows"], counts["clear"], counts["unusable"]) == (27, 26, 1)
    assert sum(server.asked[prompt] for prompt in prompts if prompt != prompts[3]) == 26
    (out / "judgements.jsonl").unlink()
    server.refuse = lambda asked: (500, {"error": {"message": "the judge is dead"}})
    with pytest.raises(StageError, match="3 different rows in a row"):
        judge()
