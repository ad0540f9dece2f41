"""What can be known of an address before it is asked: its keys, its price by batches, a limit that lets nobody be paid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import msm
from test_preflight import findings

from msm_ray.preflight import Finding

JOB = "tests/jobs/made-by-models.yaml"
PRICES = "writer.prices={input: 3, output: 15}"


def test_a_limit_of_nothing_is_told_where_something_has_to_be_paid() -> None:
    (told,) = [f for f in findings(JOB, "writer.spend_limit=0", PRICES) if f.key == "writer.spend_limit"]
    assert (told.severity, told.exit_code) == ("error", 3)
    assert "is 0, so nothing may be spent" in told.what and "writer" in told.what and "raise it" in told.remedy
    assert "written-chats" in told.stages  # and what is made already needs nothing
    for free in ("writer.prices={input: 0, output: 0}", "writer.engine=vllm"):
        assert not [f for f in findings(JOB, "writer.spend_limit=0", free) if f.key == "writer.spend_limit"]
    assert not [f for f in findings(JOB, "writer.spend_limit=1", PRICES) if f.key == "writer.spend_limit"]


@pytest.mark.parametrize(
    ("variable", "missing"), [("", True), (" , \n", True), ("a-key", False), ("a-key, b-key", False)]
)
def test_a_variable_without_a_key_in_it_is_none(variable: str, missing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEYS", variable)
    told = findings(JOB, "writer.url=https://models.example.org/v1", "writer.key_variable=MY_KEYS")
    assert any("MY_KEYS is not set" in f.what for f in told) == missing


def test_batches_are_planned_at_half_the_price(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def planned(*more: str) -> dict[str, float]:
        _, printed = msm(monkeypatch, capsys, "plan", JOB, f"root={tmp_path}", PRICES, *more, "--json")
        return {f"{each['stage']} {each['call']}": each["dollars"] for each in json.loads(printed)["writing"]}

    usual, batched = planned(), planned("writer.batch=true")
    own = planned("writer.calls={filter: {batch: true}}")
    assert usual and batched == {name: pytest.approx(dollars / 2) for name, dollars in usual.items()}
    halved = {name for name in usual if own[name] == pytest.approx(usual[name] / 2)}
    assert halved == {name for name in usual if name.endswith(" filter")} and halved


def test_a_stage_that_stops_before_a_request_may_end_is_told() -> None:
    def told(*changes: str) -> list[Finding]:
        return [found for found in findings(JOB, *changes) if "a request may take" in found.what]

    assert not told()  # what nobody set fits
    long = "writer.request_seconds=1200"
    (one,) = told(long)
    assert (one.severity, one.key) == ("warning", "writer.request_seconds")
    assert "may take 20 minutes" in one.what and "stops after 15 without an answer" in one.what
    assert "raise no_progress_minutes to 30" in one.remedy and not told(long, "writer.no_progress_minutes=30")
    (one,) = told("documents.no_progress_minutes=10")
    assert one.key == "documents.no_progress_minutes"
    for other in ("writer.engine=vllm", "writer.batch=true"):
        assert not told(long, other)
