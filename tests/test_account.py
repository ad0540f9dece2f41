"""What may be spent, when whoever asks dies or is stopped, or a disk is full: never less is counted than was spent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endpoint_server import endpoint

from msm_ray.engines import spending
from msm_ray.engines.endpoint import Asker
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import Account, Spending, most_dollars
from msm_ray.rows.journal import read_journal


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


ROW = {"id": "a", "attempt": 1, "messages": [{"role": "user", "content": "a"}], "temperature": 1.0, "top_p": 1.0}
HOW = EngineSettings(engine="endpoint", url="set below", model="m", key_variable="TEST_KEYS", prices=(1.0, 100.0))


def test_a_request_that_nobody_waits_for_any_more_is_counted_in_full_and_one_that_was_not_sent_not_at_all(
    tmp_path: Path,
) -> None:
    async def run(address: str, sent: Callable[[], bool]) -> tuple[Account, dict[str, Any]]:
        how, row = replace(HOW, url=address, requests_per_minute=1), {**ROW, "max_tokens": 50}
        account = Account(str(tmp_path / "spend.jsonl"), 5.0, 0.0)
        asker = Asker(how, ["none"], account=account)
        asked = [asyncio.create_task(asker.answer({**row, "id": name})) for name in ("sent", "waits for its turn")]
        while not sent():
            await asyncio.sleep(0.02)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await asker.close()
        return account, row

    with endpoint(seconds=5) as server:
        account, row = asyncio.run(run(server.address, lambda: bool(server.requests)))
    assert account.aside == 0
    assert account.spent == pytest.approx(most_dollars(HOW, row))
    assert [line["id"] for line in read_journal(tmp_path / "spend.jsonl")] == ["sent"]


def test_a_row_that_is_stopped_while_its_cost_is_noted_goes_on_only_then() -> None:
    class Slow:
        noted = 0.0

        async def put_aside(self, most: float, seconds: float) -> str:
            return ""

        async def settle(self, most: float, cost: float, what: Any) -> None:
            noting.set()
            await asyncio.sleep(0.1)
            self.noted += cost

    async def run(address: str) -> Slow:
        slow = Slow()
        asker = Asker(replace(HOW, url=address), ["none"], account=slow)
        asked = asyncio.create_task(asker.answer({**ROW, "max_tokens": 50}))
        await noting.wait()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await asker.close()
        return slow

    noting = asyncio.Event()
    with endpoint() as server:
        assert asyncio.run(run(server.address)).noted > 0


@pytest.mark.real
def test_a_wait_that_was_given_up_takes_no_money_later(ray_cluster: None, tmp_path: Path) -> None:
    async def run(account: Any) -> str:
        assert not await account.put_aside(4.0, 100.0)
        waiting = [asyncio.create_task(account.put_aside(2.0, 100.0)) for _ in range(50)]
        await asyncio.sleep(0.5)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(1)  # until the account has heard of it
        await account.settle(4.0, 1.0, {"id": "a"})
        return await asyncio.wait_for(account.put_aside(3.5, 100.0), 30)

    assert asyncio.run(run(Spending(tmp_path / "spend.jsonl", 5.0).open())) == ""
