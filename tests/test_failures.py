"""Whose fault a missing answer is: the row's own, an engine's, or nobody's who could be asked instead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from document_jobs import document_job
from stand_in import InTurn

from msm_ray.engines import offline
from msm_ray.engines.open import Engines
from msm_ray.engines.pool.failing import failure_of
from msm_ray.errors import MsmError, OutOfMeans, QualityGateError, StageError
from msm_ray.failures import DOUBTFUL, LOST, REFUSED, SPENT, Ledger, classify
from msm_ray.generate import asking, documents
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_rows import JobRows
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.written import document_counts
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, read_spec


def status_error(status: int, **body: str) -> openai.APIStatusError:
    """What the client library makes of a reply."""
    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
    request = httpx.Request("POST", "http://127.0.0.1:9/v1/chat/completions")
    return client._make_status_error_from_response(httpx.Response(status, json={"error": body}, request=request))


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, {"message": "prompt is too long", "code": "context_length_exceeded"}, REFUSED),
        (413, {"message": "payload too large"}, REFUSED),
        (422, {"message": "cannot be processed"}, REFUSED),
        (403, {"message": "this prompt was flagged"}, DOUBTFUL),
        (404, {"message": "no such model"}, LOST),
        (429, {"message": "Quota exceeded for quota metric 'requests per minute'"}, LOST),
        (429, {"message": "You exceeded your current quota, please check your plan and billing details"}, LOST),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, SPENT),
        (429, {"message": "You exceeded your current quota", "type": "insufficient_quota"}, SPENT),
        (400, {"message": "Your credit balance is too low to access the API"}, SPENT),
        (401, {"message": "Incorrect API key provided"}, SPENT),
        (402, {"message": "payment required"}, SPENT),
        (500, {"message": "the engine is dead"}, LOST),
        (529, {"message": "overloaded"}, LOST),
    ],
)
def test_a_reply_is_read_by_its_codes_and_not_by_words(status: int, body: dict[str, str], failure: str) -> None:
    message, found, again = classify(status_error(status, **body))
    assert found == failure
    assert f"HTTP {status}" in message and body["message"] in message
    assert again == (status in (429, 500, 529) and failure == LOST)


def test_what_is_behind_a_librarys_wrapping_counts() -> None:
    try:
        try:
            raise status_error(400, message="too long")
        except openai.BadRequestError as inner:
            raise RuntimeError("Request: ...") from inner
    except RuntimeError as outer:
        assert classify(outer)[1] == REFUSED
    assert classify(TimeoutError())[1:] == (LOST, True)
    assert classify(ConnectionRefusedError("refused"))[1:] == (LOST, True)
    assert classify(json.JSONDecodeError("no", "", 0))[1:] == (LOST, True)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ("", ""),
        (
            "VLLMValidationError: The decoder prompt (length 900) is longer than the maximum model length of 512.",
            REFUSED,
        ),
        ("ValueError: The decoder prompt cannot be empty", REFUSED),
        ("EngineGenerateError: see the log", LOST),
        ("RuntimeError: CUDA out of memory", LOST),
    ],
)
def test_an_inference_error_is_the_prompts_or_the_engines(error: str, failure: str) -> None:
    assert failure_of(error) == failure


def test_three_different_rows_in_a_row_are_an_outage_and_one_answer_between_them_is_none() -> None:
    ledger, settled = Ledger(), []
    for row in "abab":
        ledger.failed(row, "HTTP 500", LOST, lambda: settled.append("lost rows are settled nowhere"))
    assert not ledger.stopped
    ledger.answered("c")
    ledger.failed("a", "HTTP 500", LOST, list)
    ledger.failed("b", "HTTP 500", LOST, list)
    assert not ledger.stopped
    assert isinstance(ledger.error("x", ""), StageError)
    ledger.failed("d", "HTTP 500: the engine is dead", LOST, list)
    assert ledger.stopped and settled == []
    assert "the engine is dead" in str(ledger.error("x", ""))


def test_a_flagged_prompt_is_refused_where_others_are_answered_and_a_closed_door_is_an_outage() -> None:
    ledger, settled = Ledger(), []
    ledger.failed("flagged", "HTTP 403", DOUBTFUL, lambda: settled.append("flagged"))
    assert settled == []
    ledger.answered("other")
    assert settled == ["flagged"] and ledger.error("x", "") is None
    for row in "abc":
        ledger.failed(row, "HTTP 403", DOUBTFUL, lambda: settled.append("closed"))
    ledger.close()
    assert settled == ["flagged"] and ledger.stopped


def test_refused_rows_are_no_outage_however_many() -> None:
    ledger, settled = Ledger(), []
    for row in range(9):
        ledger.failed(row, "HTTP 400", REFUSED, lambda: settled.append(1))
    assert len(settled) == 9 and not ledger.stopped and ledger.error("x", "") is None


def job(out: Path, count: int = 60, **settings: Any) -> DocumentJob:
    how = DocumentSettings.model_validate(
        {"engine": "endpoint", "model": "m", "documents": count, "attempts": 2} | settings
    )
    spec = read_spec(Path("specs/cheese/america.md"), AssistantSettings(name="Ada"))
    return document_job(out, spec, how, "m")


def write(made: DocumentJob) -> MsmError | None:
    (failure,) = documents._write_group([made], Engines(GenerationSettings()))
    return failure


def test_a_target_of_tokens_ends_the_asking_and_a_higher_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = InTurn(monkeypatch, {})
    made = replace(job(tmp_path), target_tokens=20)  # a document has one token here
    assert write(made) is None
    counts = document_counts(made)
    assert 20 <= counts["documents"] < 60 and counts["target_tokens_reached"] == 1
    assert write(made) is None and len(engine.asked) == counts["documents"]
    further = replace(made, target_tokens=40)
    assert write(further) is None
    assert document_counts(further)["documents"] >= 40 and len(set(engine.asked)) == len(engine.asked)
    assert write(replace(made, target_tokens=None)) is None
    assert document_counts(made)["documents"] == 60


def test_a_single_lost_row_leaves_the_stage_uncommitted_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path)
    failure = (engine := InTurn(monkeypatch, {7: (LOST, "HTTP 500")})) and write(made)
    assert type(failure) is StageError and "failed on 1 of 60 rows" in str(failure)
    assert engine.asked.count(7) == 2  # in both rounds
    again = InTurn(monkeypatch, {})
    assert write(made) is None
    assert again.asked == [7]
    assert document_counts(made)["documents"] == 60


def test_refused_rows_are_settled_after_their_attempts_and_more_than_a_share_is_a_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path / "few")
    engine = InTurn(monkeypatch, dict.fromkeys((3, 9, 11), (REFUSED, "HTTP 400: too long")))
    assert write(made) is None
    assert engine.asked.count(3) == 2
    assert document_counts(made)["rejected: engine"] == 3
    many = job(tmp_path / "many")
    InTurn(monkeypatch, dict.fromkeys((3, 9, 11, 30), (REFUSED, "HTTP 400: too long")))
    for _ in range(2):  # the same command says the same, and asks nobody
        failure = write(many)
        assert type(failure) is QualityGateError and "4 of 60 rows for their own sake" in str(failure)
    assert write(job(tmp_path / "many", most_refused=0.1)) is None


def test_an_outage_stops_soon_and_settles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LAST_ANSWERS_SECONDS", 0)
    engine = InTurn(monkeypatch, dict.fromkeys(range(5, 60), (DOUBTFUL, "HTTP 403")))
    failure = write(job(tmp_path))
    assert type(failure) is StageError and "3 different rows in a row" in str(failure)
    assert len(engine.asked) < 12
    assert not list(read_rows(tmp_path / "rejected"))
    assert len(list(read_rows(tmp_path / "data"))) == 5


def test_a_spent_quota_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    InTurn(monkeypatch, dict.fromkeys(range(5, 60), (SPENT, "HTTP 402")))
    assert isinstance(write(job(tmp_path)), OutOfMeans)


def test_a_request_that_is_always_refused_stops_after_a_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LAST_ANSWERS_SECONDS", 0)
    engine = InTurn(monkeypatch, dict.fromkeys(range(600), (REFUSED, "HTTP 400: max_tokens is too large")))
    failure = write(job(tmp_path, 600))
    assert isinstance(failure, QualityGateError) and "max_tokens is too large" in str(failure)
    assert len(engine.asked) < 30


def test_an_offline_shard_that_failed_is_not_complete_on_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def composing(ends: dict[int, tuple[str, str]]) -> None:
        def answer(row: dict[str, Any]) -> dict[str, Any]:
            failure, error = ends.get(row["position"], ("", ""))
            return offline.composed_answer(row | {"failure": failure, "error": error})

        monkeypatch.setattr(asking, "composed_answer", answer)

    made = job(tmp_path, 100, engine="offline")
    composing(dict.fromkeys(range(60), (REFUSED, "ValueError: no form")))
    for _ in range(2):
        assert isinstance(write(made), QualityGateError)
    other = job(tmp_path / "other", 100, engine="offline")
    composing({50: (LOST, "OSError: no such device")})
    assert isinstance(write(other), StageError)
    assert not list(read_rows(tmp_path / "other" / "data"))  # an incomplete shard is made again
    composing({})
    assert write(other) is None and document_counts(other)["documents"] == 100


def test_what_composes_a_plain_answer_tells_its_own_trouble_from_the_machines() -> None:
    for error, failure in ((ValueError("no form"), REFUSED), (OSError(5, "input/output error"), LOST)):

        def broken(error: Exception = error) -> str:
            raise error

        row = {"id": "1", "max_tokens": 9} | offline.composed(broken)
        answered = offline.composed_answer(row)
        assert answered["failure"] == failure and str(error) in answered["error"] and answered["completion"] == ""
        assert {"max_tokens", offline.ANSWER}.isdisjoint(answered)


def test_two_ideas_that_are_the_same_are_two_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(tmp_path, 40, engine="offline")
    first, *rest = made.outline.subdomains
    twice = type(first)(first.domain, first.name, first.section, first.assertions, (first.types[0],) * 2)
    outline = type(made.outline)(made.outline.spec, 25, (twice, twice))
    made = replace(made, outline=outline)
    assert len(JobRows(0, made).rows) == 40
    InTurn(monkeypatch, {})
    assert write(made) is None
    assert document_counts(made)["documents"] == 40
