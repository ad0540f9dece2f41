"""What arms are called by those who ask them, and what a request becomes on its way there and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from loopback_server import Loopback, loopback
from plain_nodes import plain

from msm_ray import ask
from msm_ray.errors import StageError
from msm_ray.pipeline import TrainedArm
from msm_ray.serve import Served
from msm_ray.serve.asking import named, plain_message
from msm_ray.serve.names import arm_names, curl, how_to_ask

FIRST, SECOND, TINY = plain("sft", "a-s0", {}), plain("sft", "a-s1", {}), plain("base", "tiny", {})
TRAINED: Any = [TrainedArm("v/aft", 1, SECOND), TrainedArm("v/aft", 0, FIRST), TrainedArm("v/base", 0, TINY)]  # type: ignore[arg-type]


def test_an_arm_without_a_seed_is_its_lowest() -> None:
    assert arm_names(TRAINED) == {
        "v/aft": FIRST, "v/aft@s0": FIRST, "v/aft@s1": SECOND, "v/base": TINY, "v/base@s0": TINY,
    }  # fmt: skip


def test_refused_arms_are_not_offered_and_a_key_is_never_printed() -> None:
    served = Served("http://10.0.0.4:8000/v1", "tiny", ("tiny", "v/aft"), 1.0, "secret", {"v/aft": "v/aft: broken"})
    told = how_to_ask(served, arm_names(TRAINED))
    assert "sft/a-s1" in told and "\n  v/aft " not in told
    assert "secret" not in told and "$MSM_SERVE_KEY" in curl(served, "v/base")


def test_replies_come_back_under_the_name_that_was_asked_for() -> None:
    event = "data: " + json.dumps({"model": "tiny:sft.a-s0", "choices": [{"delta": {"content": "né"}}]}) + "\n\n"
    first, last = named([event, "data: [DONE]\n\n"], "v/aft")
    assert json.loads(first.removeprefix("data: ")) == {"model": "v/aft", "choices": [{"delta": {"content": "né"}}]}
    assert first.endswith("\n\n") and last == "data: [DONE]\n\n"
    assert named(SimpleNamespace(model="tiny"), "v/aft").model == "v/aft"
    assert named("data: [1]\n\n", "v/aft") == "data: [1]\n\n"


def test_an_error_is_said_once() -> None:
    once = "Message: too long (Request ID: ab-1), Internal exception: too long (Request ID: ab-1), original exception: too long"
    assert plain_message(once) == "too long"
    assert plain_message(f"Message: {once}, Internal exception: {once}, original exception: x") == "too long"
    assert plain_message("unknown model 'x'") == "unknown model 'x'"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """What `msm ask` finds up: it refuses questions that begin with "long"."""
    body = {"error": {"message": "too long", "type": "BadRequestError"}}
    with loopback() as up:
        up.refuse = lambda question: (400, body) if question.startswith("long") else None
        served = Served(up.address, "tiny", ("tiny", "v/aft"), 1.0, None, {"v/base": "v/base: broken"})
        monkeypatch.setattr(ask, "running", lambda store, arms: served)
        yield up


def asked(*arms: str, question: str | None = None) -> None:
    experiment: Any = SimpleNamespace(trained=TRAINED)
    ask.ask(experiment, None, question, arms, ask.Manner())  # type: ignore[arg-type]  # a server is up


def test_a_refused_question_is_said_and_whoever_types_asks_the_next_one(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["long and longer", "hello"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed, None) or (_ for _ in ()).throw(EOFError))
    asked("v/aft")
    said = capsys.readouterr()
    assert "too long" in said.err
    assert server.text in said.out
    with pytest.raises(StageError, match="too long"):
        asked("v/aft", question="long and longer")


def test_arms_that_are_all_refused_are_no_empty_answer(server: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StageError, match="no arm is left to ask"):
        asked("v/base", question="hello")
    assert "v/base: broken" in capsys.readouterr().err
    assert not server.asked
