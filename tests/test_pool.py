"""A pool of engines: as many as there is work for, dead ones replaced and what they had asked elsewhere, and vLLM's own in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest
from slow_engine import KILLER, SlowEngine
from tiny_checkpoints import tiny_checkpoint

from msm_ray.engines import Answer, Answerer, EngineSettings
from msm_ray.engines.open import Engines
from msm_ray.engines.pool.client import PoolClient
from msm_ray.engines.pool.keeper import Keeper, Recipe, _Client, _Engine, seed_of
from msm_ray.errors import StageError
from msm_ray.failures import LOST, REFUSED
from msm_ray.placement import Placement
from msm_ray.placement.settings import GenerationSettings

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
ROOM = Placement("generation", "engine", 1, ({"CPU": 1},))
RECIPE = Recipe(
    actor=SlowEngine, model="", arguments={}, ends=(), room=ROOM, environment={}, least=1, most=3, each=4, deaths=3,
    idle_seconds=3, seed=7,
)  # fmt: skip
LARGE = replace(ROOM, bundles=({"CPU": 5},), minutes=0.03)
"""Of the tests' 8 CPUs, so that a second has no room."""


@pytest.fixture
def keep(ray_cluster: None) -> Iterator[Callable[..., Any]]:
    """Opens keepers, and ends them and their engines."""
    import ray

    kept = []

    def keeper(**changes: Any) -> Any:
        kept.append(ray.remote(Keeper).options(num_cpus=0, max_concurrency=1000).remote(replace(RECIPE, **changes)))
        return kept[-1]

    yield keeper
    for each in kept:
        ray.get(each.end.remote())
        ray.kill(each)


def counts(keeper: Any) -> dict[str, int]:
    import ray

    return ray.get(keeper.counts.remote())


def ask(
    opener: Callable[[], Answerer], rows: list[dict[str, Any]], meanwhile: Callable[[], None] = lambda: None
) -> list[Answer]:
    async def all_of_them() -> list[Answer]:
        engine = opener()
        await engine.ready()
        tasks = [asyncio.create_task(engine.answer(row)) for row in rows]
        try:
            await asyncio.sleep(0)
            await asyncio.to_thread(meanwhile)
            return await asyncio.gather(*tasks)
        finally:
            await engine.close()

    return asyncio.run(all_of_them())


def prompts(*texts: str) -> list[dict[str, Any]]:
    return [{"prompt": text, "temperature": 1.0, "top_p": 1.0, "max_tokens": 8} for text in texts]


def test_engines_come_with_the_work_and_go_when_there_is_none(keep: Callable[..., Any]) -> None:
    keeper = keep()
    few = ask(lambda: PoolClient(keeper, 4, 3, {}), prompts("a", "b"))
    assert {answer["completion"].split(" in ")[0] for answer in few} == {"a by 7", "b by 7"}
    assert counts(keeper)["begun"] == 1
    seeds, deadline = set[str](), time.monotonic() + 120
    while len(seeds) < 3:  # a busy machine takes its time to start them
        assert time.monotonic() < deadline, "no more engines for more work"
        many = ask(lambda: PoolClient(keeper, 4, 3, {}), prompts(*map(str, range(600))))
        assert [answer["completion"].split()[0] for answer in many] == list(map(str, range(600)))
        seeds |= {answer["completion"].split()[2] for answer in many}
    assert counts(keeper)["begun"] == 3
    deadline = time.monotonic() + 60
    while counts(keeper)["up"]:
        assert time.monotonic() < deadline, "idle engines stay"
        time.sleep(0.5)
    again = ask(lambda: PoolClient(keeper, 4, 3, {}), prompts("c"))
    assert again[0]["completion"].startswith(f"c by {seed_of(7, 4)}")  # a start of its own, and its own draw


def test_what_a_dead_engine_had_is_answered_by_others(keep: Callable[..., Any]) -> None:
    keeper = keep(least=2)
    answered = ask(lambda: PoolClient(keeper, 4, 3, {}), prompts(*["x"] * 400, KILLER, *["y"] * 400))
    lost = [answer for answer in answered if answer["failure"]]
    assert len(lost) == 1 and lost[0]["failure"] == LOST and "3 engines died over it" in lost[0]["error"]
    assert sum(not answer["failure"] for answer in answered) == 800
    assert counts(keeper)["deaths"] == 3


def test_engines_that_do_not_start_end_the_stage_with_what_they_say(keep: Callable[..., Any]) -> None:
    keeper = keep(model="no weights in this folder", deaths=1)
    with pytest.raises(StageError, match=r"engine_deaths = 1; the last: RuntimeError: no weights in this folder$"):
        ask(lambda: PoolClient(keeper, 4, 3, {}), prompts("a"))


def test_engines_without_room_end_the_stage_with_what_is_asked_and_what_is_there(keep: Callable[..., Any]) -> None:
    from ray.util import placement_group, remove_placement_group

    held = placement_group([{"CPU": 5}])
    assert held.wait(20)
    try:
        with pytest.raises(
            StageError,
            match=r"no room after 0.03 minutes: generation asks for 1 engine of 5 logical CPUs; .*5 of 8 CPUs taken",
        ):
            ask(lambda: PoolClient(keep(room=LARGE), 4, 3, {}), prompts("a"))
    finally:
        remove_placement_group(held)


def test_engines_that_have_room_go_on_where_others_have_none(keep: Callable[..., Any]) -> None:
    keeper = keep(room=LARGE)
    began = time.monotonic()
    answered = ask(lambda: PoolClient(keeper, 4, 3, {}), prompts(*["x"] * 600))
    assert time.monotonic() - began > 2 * 60 * LARGE.minutes, "too soon over to tell"
    assert [answer["failure"] for answer in answered] == [""] * 600
    assert counts(keeper)["up"] == 1 and counts(keeper)["deaths"] == 0


def test_room_is_missed_from_when_the_last_engine_went_while_somebody_asks(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = []

    async def never(self: Keeper, name: str, number: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(name)

    monkeypatch.setattr(Keeper, "_start", never)

    async def failed_after(keeper: Keeper, asked: int) -> str:
        keeper.clients["one"] = _Client(asked)
        for _ in range(3):
            await keeper._look_once()
            await asyncio.sleep(0.06)
        return keeper.failed

    async def followed() -> None:
        keeper = Keeper(replace(RECIPE, room=replace(LARGE, minutes=0.001), least=2, idle_seconds=0))
        assert await failed_after(keeper, 0) == ""
        keeper.up["engine-0"] = _Engine(None, None)
        assert await failed_after(keeper, 8) == "" and keeper.starting
        keeper.up.clear()
        keeper.loading.add("engine-1")
        assert await failed_after(keeper, 8) == ""
        keeper.loading.clear()
        await keeper._look_once()
        assert keeper.failed == "", "it has just lost its room"
        assert (await failed_after(keeper, 8)).startswith("no room after 0.001 minutes")
        assert cancelled == ["engine-1", "engine-2"]

    asyncio.run(followed())


SCHEMA = json.dumps({"type": "object", "properties": {"answer": {"enum": ["w7", "w8"]}}, "required": ["answer"]})


def test_vllms_engines_are_started_once_answer_everything_and_are_replaced(ray_cluster: None, tmp_path: Any) -> None:
    base = str(tiny_checkpoint(tmp_path, seed=0))
    chat = EngineSettings(engine="vllm", model=base, structured=True)
    text = EngineSettings(engine="vllm", model=base, chat=False)
    turns = [{"role": "system", "content": "w5"}, {"role": "user", "content": "w6"}]
    asked = {"messages": turns, "temperature": 1.0, "top_p": 1.0, "max_tokens": 8, "json_schema": SCHEMA}
    long = prompts(*["w5 w6 w7"] * 5000)  # some seconds, of which an engine is killed in the first
    with Engines(GenerationSettings(workers=2, max_model_len=64, max_num_seqs=8)) as engines:
        for answer in ask(engines.opener(chat), [asked] * 12):
            assert answer["error"] == ""
            assert json.loads(answer["completion"])["answer"] in ("w7", "w8") and answer["finish_reason"] == "stop"
        (refused,) = ask(engines.opener(text), prompts("w5 " * 100))
        assert refused["failure"] == REFUSED
        (keeper,) = engines.pools.values()
        told = ask(engines.opener(text), long, lambda: _kill_one(keeper))
        assert [answer["error"] for answer in told if answer["failure"]] == []
        assert all(answer["num_input_tokens"] >= 3 and answer["num_generated_tokens"] for answer in told)
        assert counts(keeper)["deaths"] == 1 and counts(keeper)["begun"] == 3


def _kill_one(keeper: Any) -> None:
    """The process of vLLM's core below one of the keeper's own engines: other tests' engines run on this machine too."""
    import ray

    _, engines, _ = ray.get(keeper.engines.remote("the test", 0, -1))
    actor = ray.get(next(iter(engines.values())).ready.remote())
    (core,) = [p for p in psutil.Process(actor).children(recursive=True) if "VLLM::EngineCore" in " ".join(p.cmdline())]
    time.sleep(0.3)
    os.kill(core.pid, signal.SIGKILL)
