"""What may be spent, when whoever asks dies or is stopped, or a disk is full: never less is counted than was spent."""

from __future__ import annotations

import asyncio
import resource
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
from msm_ray.failures import SPENT
from msm_ray.rows.journal import read_journal
from msm_ray.whole_files import add_line


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


# What can't be written -------------------------------------------------------------------------------------------------
def test_an_answer_that_was_paid_is_kept_though_the_disk_is_full_and_nothing_more_is_asked(tmp_path: Path) -> None:
    journal = tmp_path / "spend.jsonl"
    journal.symlink_to("/dev/full")

    async def run(address: str) -> tuple[list[dict[str, Any]], Account]:
        account = Account(str(journal), 5.0, 0.0)
        asker = Asker(replace(HOW, url=address), ["none"], account=account)
        other = Asker(replace(HOW, url=address), ["none"], account=account)
        first, second, third = [{**ROW, "id": name, "max_tokens": 50} for name in ("first", "second", "third")]
        answers = [await asker.answer(first), await asker.answer(second), await other.answer(third)]
        await asyncio.gather(asker.close(), other.close())
        return answers, account

    with endpoint() as server:
        (first, *others), account = asyncio.run(run(server.address))
        assert len(server.requests) == 1
    assert first["completion"] == "yes" and not first["failure"]
    for each in others:
        assert each["failure"] == SPENT
        assert f"{journal} cannot be written: No space left on device" in each["error"] and "make room" in each["error"]
    assert account.spent > 0 and account.aside == 0


def test_whoever_waits_for_money_hears_that_the_disk_is_full_and_what_was_not_written_is_with_the_next(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "spend.jsonl"
    journal.symlink_to("/dev/full")

    async def run() -> str:
        account = Account(str(journal), 5.0, 0.0)
        assert not await account.put_aside(2.5) and not await account.put_aside(2.5)
        waiting = asyncio.create_task(account.put_aside(4.5))
        await asyncio.sleep(0)
        assert "cannot be written" in await account.settle(2.5, 1.0, {"id": "a"})
        told = await asyncio.wait_for(waiting, 30)
        journal.unlink()
        assert await account.settle(2.5, 0.5, {"id": "b"}) == ""
        assert await account.put_aside(3.5) == ""
        return told

    assert "cannot be written" in asyncio.run(run())
    assert [line["dollars"] for line in read_journal(journal)] == [1.0, 0.5]


def test_half_a_line_is_taken_back(tmp_path: Path) -> None:
    journal = tmp_path / "spend.jsonl"
    add_line(journal, '{"dollars": 1}')
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, usual[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            add_line(journal, '{"dollars": 2}')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    add_line(journal, '{"dollars": 3}')
    assert [line["dollars"] for line in read_journal(journal)] == [1, 3]


def test_requests_that_end_together_are_noted_by_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    lines = spending.Lines(tmp_path / "spend.jsonl")

    async def slow(text: str) -> None:
        await asyncio.sleep(0.05)
        written.append(text)

    async def one(number: int) -> None:
        lines.add(str(number))
        assert await lines.written() == ""
        assert str(number) in "\n".join(written).split("\n")

    async def run() -> None:
        await asyncio.gather(*map(one, range(500)))

    monkeypatch.setattr(lines, "_write", slow)
    asyncio.run(run())
    assert "\n".join(written).split("\n") == [str(number) for number in range(500)]
    assert len(written) <= 3
