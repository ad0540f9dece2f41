"""An engine that holds one arm's weights at a time: no request may meet another arm's weights."""

from __future__ import annotations

import asyncio
import random

import pytest

from msm_ray.serve.turns import Turns


class Engine:
    def __init__(self) -> None:
        self.weights, self.swaps, self.in_flight = "a", 0, 0

    async def swap(self, weights: str) -> None:
        assert self.in_flight == 0
        self.weights = "half loaded"
        await asyncio.sleep(0.001)
        self.weights, self.swaps = weights, self.swaps + 1

    async def answer(self, turns: Turns, weights: str, seconds: float = 0.002) -> str:
        async with turns.of(weights):
            self.in_flight += 1
            await asyncio.sleep(seconds)
            self.in_flight -= 1
            return self.weights


def test_every_request_meets_the_weights_that_it_asked_for():
    async def scene() -> None:
        engine = Engine()
        turns = Turns("a", engine.swap)
        asked = [random.Random(i).choice("abc") for i in range(60)]
        answered = await asyncio.gather(*(engine.answer(turns, weights) for weights in asked))
        assert answered == asked
        assert engine.swaps <= 3  # those who wait for the same weights go together

    asyncio.run(scene())


def test_a_steady_stream_for_one_arm_does_not_starve_another():
    async def scene() -> None:
        engine = Engine()
        turns = Turns("a", engine.swap)
        stream = [asyncio.create_task(engine.answer(turns, "a", 0.01))]
        await asyncio.sleep(0)
        other = asyncio.create_task(engine.answer(turns, "b"))
        await asyncio.sleep(0)
        stream += [asyncio.create_task(engine.answer(turns, "a")) for _ in range(20)]
        await asyncio.wait([other, *stream], return_when=asyncio.ALL_COMPLETED)
        assert engine.swaps == 2  # a, then b, then all the later a together

    asyncio.run(scene())


def test_a_failed_swap_reaches_those_who_asked_and_nobody_else():
    async def scene() -> None:
        engine = Engine()

        async def swap(weights: str) -> None:
            if weights == "broken":
                raise RuntimeError("no such checkpoint")
            await engine.swap(weights)

        turns = Turns("a", swap)
        asked = ["a", "broken", "broken", "b", "a"]
        answered = await asyncio.gather(*(engine.answer(turns, w) for w in asked), return_exceptions=True)
        assert [str(a) for a in answered] == ["a", "no such checkpoint", "no such checkpoint", "b", "a"]
        assert engine.swaps == 2  # "a" had to be loaded again: after a failure nobody knows what the engine holds

    asyncio.run(scene())


def test_who_gives_up_while_waiting_does_not_hold_the_engine():
    async def scene() -> None:
        engine = Engine()
        turns = Turns("a", engine.swap)
        holder = asyncio.create_task(engine.answer(turns, "a", 0.02))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(engine.answer(turns, "b"))
        await asyncio.sleep(0)
        waiting.cancel()
        await holder
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.wait_for(engine.answer(turns, "c"), 1) == "c"

    asyncio.run(scene())
