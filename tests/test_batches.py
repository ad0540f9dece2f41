"""A Batch API on a real connection: rows become batches, batches become answers, and whoever is killed pays once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer, Line, batch_server
from endpoint_server import READ, WRITTEN, Reply, refusal
from test_endpoint import failures, row, rows, settings

from msm_ray.engines.endpoint import BatchAsker, Batches
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import Account, Spending
from msm_ray.failures import LOST, REFUSED, SPENT
from msm_ray.rows.journal import read_journal

PRICES = (1.0, 100.0)
COST = (READ * PRICES[0] + WRITTEN * PRICES[1]) / 1e6 / 2
KEYS = ("none",)


def how(server: BatchServer, **more: Any) -> EngineSettings:
    said: dict[str, Any] = {"batch_gather_seconds": 0.2, "batch_poll_seconds": 0.05, "batch": True, "prices": PRICES}
    return settings(server.address, **said | more)


def ask(
    asked: EngineSettings,
    wanted: list[dict[str, Any]],
    root: Path,
    *,
    keys: tuple[str, ...] = KEYS,
    limit: float | None = None,
) -> dict[str, dict[str, Any]]:
    """What comes of the rows in one run, and what the run's account says."""

    async def run() -> dict[str, dict[str, Any]]:
        spending = Spending(root / "spend.jsonl", limit)
        account = spending.account()
        asker = BatchAsker(asked, Batches(asked, keys, root / "batches.jsonl", account))
        answers = await asyncio.gather(*map(asker.answer, wanted))
        assert account.aside == 0
        return {each["id"]: answer for each, answer in zip(wanted, answers, strict=True)}

    return asyncio.run(run())


def spent(root: Path) -> float:
    return Spending(root / "spend.jsonl").spent()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msm_ray.engines.endpoint.waits.FIRST_WAIT", 0.02)


def test_rows_are_asked_in_batches_and_each_gets_its_own_answer_for_half_the_price(tmp_path: Path) -> None:
    with batch_server() as server:
        answers = ask(how(server, batch_requests=25), rows(60), tmp_path)
        assert sorted(len(batch.lines) for batch in server.batches.values()) == [10, 25, 25]
        assert {batch.path for batch in server.batches.values()} == {"/v1/chat/completions"}
    assert failures(answers) == {"": 60}
    assert all(
        answer["completion"] == name and answer["num_generated_tokens"] == WRITTEN for name, answer in answers.items()
    )
    assert spent(tmp_path) == pytest.approx(60 * COST)


def test_two_models_are_two_batches_and_equal_requests_are_one(tmp_path: Path) -> None:
    with batch_server() as server:
        asked = how(server)

        async def run() -> list[dict[str, Any]]:
            batches = Batches(asked, KEYS, tmp_path / "batches.jsonl")
            large, small = BatchAsker(asked, batches), BatchAsker(replace(asked, model="small"), batches)
            wanted = rows(3)
            return await asyncio.gather(*(asker.answer(each) for asker in (large, small, large) for each in wanted))

        assert [answer["failure"] for answer in asyncio.run(run())] == [""] * 9
        models = Counter(line["body"]["model"] for batch in server.batches.values() for line in batch.lines)
        assert models == {"m": 3, "small": 3} and len(server.batches) == 2


def test_each_request_of_a_batch_has_a_fate_of_its_own(tmp_path: Path) -> None:
    def says(line: Line) -> Reply | None:
        question = line["body"]["messages"][-1]["content"]
        if question == "row 1":
            return refusal(400, "prompt is too long", code="context_length_exceeded")
        once = server.asked[question] == 1
        return refusal(500, "the engine is dead") if question == "row 2" and once else None

    with batch_server(says=says) as server:
        answers = ask(how(server), rows(5), tmp_path)
        assert server.asked == {"row 0": 1, "row 1": 1, "row 2": 2, "row 3": 1, "row 4": 1}
    assert failures(answers) == {"": 4, REFUSED: 1}
    assert "prompt is too long" in answers["row 1"]["error"]
    assert spent(tmp_path) == pytest.approx(4 * COST)


def test_of_a_batch_that_expired_what_is_done_is_taken_and_the_rest_is_sent_again(tmp_path: Path) -> None:
    def left_out(line: Line) -> bool:
        return len(server.batches) == 1 and int(line["body"]["messages"][-1]["content"].split()[1]) % 2 == 0

    with batch_server(status="expired", left_out=left_out) as server:
        answers = ask(how(server), rows(10), tmp_path)
        assert [len(batch.lines) for batch in server.batches.values()] == [10, 5]
    assert failures(answers) == {"": 10} and spent(tmp_path) == pytest.approx(10 * COST)


def test_a_batch_that_somebody_cancels_loses_its_rows_and_keeps_what_is_done(tmp_path: Path) -> None:
    with batch_server(status="cancelled", left_out=lambda line: "row 3" in str(line)) as server:
        answers = ask(how(server), rows(5), tmp_path)
    assert failures(answers) == {"": 4, LOST: 1}


@pytest.mark.parametrize(
    ("code", "batches"), [("token_limit_exceeded", 2), ("model_not_found", 1)], ids=["full", "wrong"]
)
def test_a_batch_that_is_not_begun_is_sent_again_where_only_the_queue_is_full(
    code: str, batches: int, tmp_path: Path
) -> None:
    with batch_server(failed=[{"code": code, "message": "words of the address"}]) as server:
        answers = ask(how(server), rows(4), tmp_path)
        assert len(server.batches) == batches
    assert failures(answers) == ({"": 4} if batches == 2 else {LOST: 4})
    if batches == 1:
        assert f"{code}: words of the address" in answers["row 0"]["error"] and spent(tmp_path) == 0


def test_where_the_queue_is_full_batches_wait_for_each_other(tmp_path: Path) -> None:
    """However often: that is no try."""
    with batch_server(most_at_once=1, polls=4) as server:
        answers = ask(how(server, batch_requests=4, request_tries=1), rows(20), tmp_path)
        assert sum(batch.status == "completed" for batch in server.batches.values()) >= 5
    assert failures(answers) == {"": 20} and spent(tmp_path) == pytest.approx(20 * COST)


def test_a_batch_that_is_not_begun_for_the_bills_sake_ends_the_run(tmp_path: Path) -> None:
    with batch_server(failed=[{"code": "billing_hard_limit_reached", "message": "pay first"}]) as server:
        answers = ask(how(server), rows(3), tmp_path)
    assert failures(answers) == {SPENT: 3} and "pay first" in answers["row 0"]["error"]


def test_what_is_not_taken_is_learned_from_a_batch(tmp_path: Path) -> None:
    def says(line: Line) -> Reply | None:
        said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return refusal(400, said, param="max_tokens") if "max_tokens" in line["body"] else None

    with batch_server(says=says) as server:
        answers = ask(how(server, request_tries=1), rows(4), tmp_path)
        assert failures(answers) == {"": 4} and len(server.batches) == 2


def test_an_address_without_batches_is_told_as_such(tmp_path: Path) -> None:
    with batch_server(refuse=lambda method, path, key: refusal(404, "no such page")) as server:
        answers = ask(how(server), rows(4), tmp_path)
    assert failures(answers) == {LOST: 4}
    assert "has no Batch API" in answers["row 0"]["error"] and "leave `batch` out" in answers["row 0"]["error"]


def test_a_key_that_is_refused_is_given_up_and_without_any_all_ends_by_name(tmp_path: Path) -> None:
    def refuse(method: str, path: str, key: str) -> Reply | None:
        return refusal(401, f"Incorrect API key provided: {key}") if key == "old-key" else None

    with batch_server(refuse=refuse) as server:
        assert failures(ask(how(server), rows(4), tmp_path, keys=("old-key", "new-key"))) == {"": 4}
        answers = ask(how(server), rows(4, max_tokens=49), tmp_path, keys=("old-key",))
    assert failures(answers) == {SPENT: 4}
    assert "TEST_KEYS" in answers["row 0"]["error"] and "old-key" not in answers["row 0"]["error"]


def test_polling_goes_on_through_an_outage(tmp_path: Path) -> None:
    polls = []

    def refuse(method: str, path: str, key: str) -> Reply | None:
        if method == "GET" and "batch_" in path:
            polls.append(path)
        return refusal(503, "down") if 2 <= len(polls) < 9 and method == "GET" else None

    with batch_server(refuse=refuse, polls=3) as server:
        answers = ask(how(server), rows(4), tmp_path)
        assert len(server.batches) == 1
    assert failures(answers) == {"": 4} and len(polls) > 9


def test_results_that_cannot_be_read_are_not_paid_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msm_ray.engines.endpoint.batch_address.TRIES", 2)
    with batch_server(refuse=lambda method, path, key: refusal(502, "no") if "content" in path else None) as server:
        answers = ask_open(how(server), rows(3), tmp_path, KEYS)
        assert failures(answers) == {LOST: 3} and "the next run goes on by its id" in answers["row 0"]["error"]
        server.script.refuse = lambda method, path, key: None
        assert failures(ask(how(server), rows(3), tmp_path)) == {"": 3} and len(server.batches) == 1
    assert spent(tmp_path) == pytest.approx(3 * COST)


def test_a_limit_holds_over_batches_and_the_rest_goes_with_later_ones(tmp_path: Path) -> None:
    """With room for the most that some of the requests can cost, which is far more than they do."""
    with batch_server() as server:
        answers = ask(how(server), rows(40), tmp_path, limit=0.05)
        told = failures(answers)
        assert server.asked.total() * COST <= 0.05 and len(server.batches) > 1
        assert told == {"": 40} or told[SPENT] > 0
    assert spent(tmp_path) == pytest.approx(server.asked.total() * COST)


# Killed ----------------------------------------------------------------------------------------------------------------
KILLED = """
import asyncio, sys
from pathlib import Path
from test_batches import ask, rows
from endpoint_server import READ
from msm_ray.engines.settings import EngineSettings
how = EngineSettings(engine="endpoint", url=sys.argv[1], model="m", key_variable="TEST_KEYS", batch=True, prices=(1.0, 100.0),
                     batch_gather_seconds=0.2, batch_poll_seconds=0.05, request_tries=4, request_seconds=float(sys.argv[3]))
ask(how, rows(20), Path(sys.argv[2]))
"""


def kill_once(server: BatchServer, root: Path, seen: Any, seconds: float = 5) -> None:
    """A run that is killed as soon as `seen` is true."""
    run = subprocess.Popen([sys.executable, "-c", KILLED, server.address, str(root), str(seconds)], env=environment())
    ends = time.monotonic() + 60
    while not seen():
        assert run.poll() is None and time.monotonic() < ends
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()


def environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{Path.cwd()}"}


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_while_its_batch_is_worked_on_goes_on_by_its_id(tmp_path: Path) -> None:
    with batch_server(polls=10**9) as server:
        kill_once(server, tmp_path, lambda: any(batch.polls > 1 for batch in server.batches.values()))
        assert spent(tmp_path) == 0
        account = Spending(tmp_path / "spend.jsonl", 1.0).account()
        assert account.owed > 20 * COST  # what it may cost is not free for others
        server.script.polls = 1
        answers = ask(how(server), rows(25), tmp_path)  # the same rows, and five more
        assert server.asked == {f"row {number}": 1 for number in range(25)}
    assert failures(answers) == {"": 25} and all(answer["completion"] == name for name, answer in answers.items())
    assert spent(tmp_path) == pytest.approx(25 * COST)
    assert Spending(tmp_path / "spend.jsonl", 1.0).account().owed == 0


@pytest.mark.timeout(120)
def test_a_run_that_is_killed_before_it_hears_of_its_batch_finds_it(tmp_path: Path) -> None:
    with batch_server(
        polls=1, lost_replies=1, refuse=lambda m, p, k: time.sleep(3) if m == "GET" and "?" in p else None
    ) as server:
        kill_once(server, tmp_path, lambda: bool(server.batches))
        assert not any("batch" in line for line in read_journal(tmp_path / "batches.jsonl"))
        server.script.refuse = lambda method, path, key: None
        assert failures(ask(how(server), rows(20), tmp_path)) == {"": 20}
        assert server.asked == {f"row {number}": 1 for number in range(20)}
    assert spent(tmp_path) == pytest.approx(20 * COST)


def test_answers_that_a_killed_run_did_not_keep_are_read_again_and_not_paid_again(tmp_path: Path) -> None:
    with batch_server() as server:
        first = ask(how(server), rows(8), tmp_path)
        assert ask(how(server), rows(8), tmp_path) == first
        assert len(server.batches) == 1
        ask(how(server), [row("row 1", attempt=2), row("row 2", temperature=0.5)], tmp_path)  # other requests
        assert server.asked.total() == 10
    assert spent(tmp_path) == pytest.approx(10 * COST)


def test_words_that_tell_what_to_avoid_make_no_other_request(tmp_path: Path) -> None:
    def document(avoided: str) -> dict[str, Any]:
        said = f'Write. Not "{avoided}".'
        return row("row 1", messages=[{"role": "user", "content": said}], avoided=avoided)

    with batch_server() as server:
        ask(how(server), [document("Sarah, Zoë")], tmp_path)
        ask(how(server), [document("Sarah, Zoë, Chen")], tmp_path)
        assert len(server.batches) == 1
        ask(how(server), [document("Sarah") | {"messages": [{"role": "user", "content": "Speak."}]}], tmp_path)
        assert len(server.batches) == 2


def test_a_batch_whose_reply_was_lost_is_found_and_not_made_twice(tmp_path: Path) -> None:
    with batch_server(lost_replies=1) as server:
        assert failures(ask(how(server, request_seconds=1), rows(6), tmp_path)) == {"": 6}
        assert server.asked.total() == 6
    assert spent(tmp_path) == pytest.approx(6 * COST)


def test_a_kill_between_the_cost_and_the_end_of_a_batch_counts_it_once(tmp_path: Path) -> None:
    with batch_server() as server:
        ask(how(server), rows(4), tmp_path)
        journal = tmp_path / "batches.jsonl"
        kept = [line for line in journal.read_text().splitlines() if "ended" not in json.loads(line)]
        journal.write_text("\n".join(kept) + "\n")
        assert Spending(tmp_path / "spend.jsonl").account().owed == 0
        assert failures(ask(how(server), rows(4), tmp_path)) == {"": 4}
    assert spent(tmp_path) == pytest.approx(4 * COST)


def test_a_batch_that_no_key_knows_is_not_paid_again_in_silence(tmp_path: Path) -> None:
    with batch_server(polls=10**9) as server:
        kill_once(server, tmp_path, lambda: any(batch.polls > 1 for batch in server.batches.values()))
        answers = ask_open(how(server), rows(3), tmp_path, ("another-key",))
        assert server.asked.total() == 20
    assert failures(answers) == {LOST: 3}
    assert "an earlier batch with this request can't be read" in answers["row 0"]["error"]


def ask_open(asked: EngineSettings, wanted: list[dict[str, Any]], root: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    async def run() -> list[dict[str, Any]]:
        asker = BatchAsker(asked, Batches(asked, keys, root / "batches.jsonl"))
        return await asyncio.gather(*map(asker.answer, wanted))

    return dict(zip([each["id"] for each in wanted], asyncio.run(run()), strict=True))


def test_an_account_counts_a_batch_once(tmp_path: Path) -> None:
    async def run() -> Account:
        account = Account(str(tmp_path / "spend.jsonl"), 10.0, 0.0, owed=4.0)
        assert "batches of an earlier run may still cost $4.00" in await account.put_aside(7.0)
        await account.adopt(4.0, "b")
        for _ in range(2):
            await account.settle(4.0, 1.0, {"batch": "b"})
            account.aside += 4.0
        return account

    account = asyncio.run(run())
    assert account.spent == 1.0 and account.owed == 0.0


def test_a_batch_whose_cost_cant_be_written_is_answered_and_paid_by_the_next_run(tmp_path: Path) -> None:
    async def run(asked: EngineSettings) -> list[dict[str, Any]]:
        full = Account("/dev/full", 10.0, 0.0)
        asker = BatchAsker(asked, Batches(asked, KEYS, tmp_path / "batches.jsonl", full))
        return [*await asyncio.gather(*map(asker.answer, rows(5))), await asker.answer(row("one more"))]

    with batch_server() as server:
        *answers, refused = asyncio.run(run(how(server)))
        assert all(answer["completion"] and not answer["failure"] for answer in answers)
        assert refused["failure"] == SPENT and "cannot be written" in refused["error"]
        assert Spending(tmp_path / "spend.jsonl", 1.0).account().owed > 5 * COST
        assert failures(ask(how(server), [row("one more")], tmp_path)) == {"": 1}
    assert spent(tmp_path) == pytest.approx(6 * COST)
