"""What may be spent, when whoever asks dies or is stopped, or a disk is full: never less is counted than was spent."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from msm_ray.engines import spending
from msm_ray.engines.spending import Account, Spending


def test_what_the_dead_put_aside_is_counted_as_spent_once_no_request_can_be_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "LATE", 0.1)
    journal = tmp_path / "spend.jsonl"

    async def run() -> tuple[str, float, Account]:
        account = Account(str(journal), 5.0, 1.0)
        for _ in range(3):
            assert not await account.put_aside(1.0, 0.4)  # of a worker that dies now
        assert not await account.put_aside(0.75, 0.4)  # of one that lives
        waiting = asyncio.create_task(account.put_aside(1.0, 0.4))
        await asyncio.sleep(0.3)
        await account.settle(0.75, 0.25, {"id": "a"})
        began = time.monotonic()
        told = await asyncio.wait_for(waiting, 30)
        return told, time.monotonic() - began, account

    told, waited, account = asyncio.run(run())
    assert "spend limit of $5.00 would be passed: $4.25 are spent ($3.00 of it perhaps" in told
    assert waited > 0.45  # whoever was heard of last might have been alive so long
    assert account.aside == 0 and account.spent == 4.25
    assert Spending(journal).spent() == 3.25  # the next run knows it too


def test_what_goes_with_batches_is_waited_for_as_long_as_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "LATE", 0.0)

    async def run() -> str:
        account = Account(str(tmp_path / "spend.jsonl"), 5.0, 0.0)
        assert not await account.put_aside(4.5)
        assert not await account.put_aside(0.25, 0.05)  # of a worker that dies
        waiting = asyncio.create_task(account.put_aside(1.0, 0.05))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await account.settle(4.5, 2.0, {"batch": "b"})
        return await asyncio.wait_for(waiting, 30)

    assert asyncio.run(run()) == ""
