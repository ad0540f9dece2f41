"""An address that is slow, strict, busy or broken, asked row by row over real connections: what comes of every row."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from endpoint_server import READ, WRITTEN, Reply, Request, endpoint, refusal

from msm_ray.engines.endpoint import Asker, rates
from msm_ray.engines.endpoint.keys import read_keys
from msm_ray.engines.endpoint.rates import NO_KEY, Limits, Pace
from msm_ray.engines.endpoint.waits import LONGEST_WAIT, asked_wait
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import Account
from msm_ray.errors import PreflightError
from msm_ray.failures import LOST, REFUSED, SPENT

Answers = dict[str, dict[str, Any]]


def settings(address: str, **more: Any) -> EngineSettings:
    said: dict[str, Any] = {"request_seconds": 5, "request_tries": 4, "key_variable": "TEST_KEYS"}
    return EngineSettings(engine="endpoint", url=address, model="m", **said | more)


def row(name: str, **more: Any) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": name}], "temperature": 1.0, "top_p": 1.0, "max_tokens": 50}
    return {"id": name, "attempt": 1, **asked, **more}


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [row(f"row {number}", **more) for number in range(count)]


def ask(
    how: EngineSettings, asked: list[dict[str, Any]], *, keys: tuple[str, ...] = ("none",), at_once: int = 64,
    account: Callable[[], Account] | None = None, askers: int = 1,
) -> Answers:  # fmt: skip
    """What comes of the rows: of several askers that share their limits."""

    async def all_of_them() -> Answers:
        limits = Limits(len(keys), how.requests_per_minute, how.tokens_per_minute)
        paid = account() if account else None
        made = [Asker(how, keys, limits, paid) for _ in range(askers)]
        room = asyncio.Semaphore(at_once)

        async def one(number: int, each: dict[str, Any]) -> Any:
            async with room:
                return await made[number % askers].answer(each)

        answers = await asyncio.gather(*(one(number, each) for number, each in enumerate(asked)))
        return {each["id"]: answer for each, answer in zip(asked, answers, strict=True)}

    return asyncio.run(all_of_them())


def failures(answers: Answers) -> Counter[str]:
    return Counter(answer["failure"] for answer in answers.values())


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msm_ray.engines.endpoint.waits.FIRST_WAIT", 0.02)


# Rates -----------------------------------------------------------------------------------------------------------------
def most_in_a_minute(begun: list[tuple[float, float]]) -> float:
    times, sums = [at for at, _ in begun], [0.0, *itertools.accumulate(amount for _, amount in begun)]
    return max(sums[bisect.bisect_left(times, at + 60)] - sums[place] for place, at in enumerate(times))


@pytest.mark.parametrize("rate", [7, 60, 6000])
def test_no_minute_has_more_than_its_number_whenever_requests_come(rate: int) -> None:
    drawn, pace, now, begun = random.Random(rate), Pace(rate), 0.0, []
    for _ in range(3 * rate):
        now = max(now + drawn.choice([0, 0, 0, 0.03, 0.2]) * 60 / rate, pace.free)
        pace.take(1, now)
        begun.append((now, 1.0))
    assert most_in_a_minute(begun) <= rate
    assert most_in_a_minute(begun) >= 0.8 * rate  # and a minute is used


def test_tokens_of_a_minute_are_its_number_and_one_request_at_most_and_what_was_not_used_is_given_back() -> None:
    drawn, pace, now, begun = random.Random(1), Pace(10_000), 0.0, []
    for _ in range(300):
        now, used = max(now, pace.free), drawn.randrange(10, 900)
        pace.take(1000, now)
        pace.give_back(1000 - used)
        begun.append((now, used))
    assert 9_000 <= most_in_a_minute(begun) <= 10_900


def test_requests_keep_their_pace_over_all_askers_and_keys() -> None:
    with endpoint() as server:
        how = settings(server.address, requests_per_minute=600)  # of each of two keys: 20 a second
        began = time.monotonic()
        answers = ask(how, rows(40), keys=("one", "two"), askers=3)
    assert failures(answers) == {"": 40}
    assert time.monotonic() - began > 1.8
    assert Counter(request.key for request in server.requests) == {"one": 20, "two": 20}


def test_tokens_are_counted_by_estimate_and_put_right_by_usage() -> None:
    with endpoint() as server:  # estimated: 1,000 tokens and the prompt; used: 9
        how = settings(server.address, tokens_per_minute=60_000)
        began = time.monotonic()
        answers = ask(how, rows(30, max_tokens=1000), at_once=1)
        one_by_one = time.monotonic() - began
    assert failures(answers) == {"": 30}
    assert one_by_one < 10  # by the estimates alone it would be half a minute


# Keys ------------------------------------------------------------------------------------------------------------------
def test_a_variable_holds_several_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEYS", " a-1,b-2\n c-3  a-1,")
    assert read_keys(settings("https://models.example.org/v1")) == ("a-1", "b-2", "c-3")
    monkeypatch.setenv("TEST_KEYS", " ,\n")
    with pytest.raises(PreflightError, match="TEST_KEYS"):
        read_keys(settings("https://models.example.org/v1"))
    assert read_keys(settings("http://127.0.0.1:1/v1")) == ("none",)


def expired(request: Request) -> Reply:
    return refusal(401, f"Incorrect API key provided: {request.key}", code="invalid_api_key")


@pytest.mark.parametrize(
    ("status", "more"), [(401, {}), (402, {}), (429, {"code": "insufficient_quota"})], ids=["401", "402", "quota"]
)
def test_a_key_that_ends_in_the_middle_is_given_up_and_its_requests_go_on_with_the_others(
    status: int, more: dict[str, str]
) -> None:
    def says(request: Request) -> Reply | None:
        return refusal(status, "no more", **more) if request.key == "first-key" and request.of_key > 10 else None

    with endpoint(says, seconds=0.02) as server:
        answers = ask(settings(server.address), rows(60), keys=("first-key", "second-key"), at_once=8)
    assert failures(answers) == {"": 60}
    assert Counter(server.answered) == {f"row {number}": 1 for number in range(60)}
    assert sum(request.key == "first-key" for request in server.requests) < 20  # those in flight when it ended


def test_with_the_last_key_all_ends_naming_the_variable_and_never_a_key() -> None:
    with endpoint(lambda request: expired(request) if request.of_key > 6 else None) as server:
        answers = ask(settings(server.address), rows(60), keys=("first-key", "second-key"), at_once=8)
    assert failures(answers)[""] == 12 and failures(answers)[SPENT] == 48
    assert len(server.requests) < 32
    told = {answer["error"] for answer in answers.values() if answer["failure"]}
    assert any("HTTP 401" in each and "last of the 2 keys in TEST_KEYS" in each for each in told)
    assert not any("first-key" in each or "second-key" in each for each in told)


# What an address does not take ------------------------------------------------------------------------------------------
def strict(request: Request) -> Reply | None:
    """A model that reasons, as OpenAI's refuse."""
    if "max_tokens" in request.body:
        said = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return refusal(400, said, param="max_tokens", code="unsupported_parameter")
    for name in ("temperature", "top_p"):
        if request.body.get(name, 1) != 1 or (name == "top_p" and name in request.body):
            said = f"Unsupported value: '{name}' does not support {request.body[name]} with this model. Only the default (1)."
            return refusal(400, said, param=name, code="unsupported_value")
    return None


def test_what_an_address_does_not_take_is_learned_once() -> None:
    with endpoint(strict) as server:
        answers = ask(settings(server.address, request_tries=1), rows(20), at_once=1)
    assert failures(answers) == {"": 20} and len(server.requests) == 22
    last = server.requests[-1].body
    assert last["max_completion_tokens"] == 50 and last["temperature"] == 1
    assert not {"max_tokens", "top_p"} & last.keys()


def test_two_that_cannot_be_said_together_are_said_one_by_one() -> None:
    def says(request: Request) -> Reply | None:
        both = {"temperature", "top_p"} <= request.body.keys()
        return refusal(400, "`temperature` and `top_p` cannot both be specified for this model.") if both else None

    with endpoint(says) as server:
        answers = ask(settings(server.address), [row("a", temperature=0.3), row("b", temperature=0.3)], at_once=1)
    assert failures(answers) == {"": 2} and len(server.requests) == 3
    assert server.requests[-1].body["temperature"] == 0.3 and "top_p" not in server.requests[-1].body


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_a_row_whose_sampling_is_not_taken_is_refused_and_never_sampled_otherwise(name: str) -> None:
    with endpoint(strict) as server:
        answers = ask(settings(server.address), [row("other", **{name: 0.2}), row("plain")], at_once=1)
    assert answers["other"]["failure"] == REFUSED and answers["plain"]["failure"] == ""
    assert f"{name} 0.2 is asked for" in answers["other"]["error"]
    assert server.answered == ["plain"]


def test_a_refusal_of_a_prompt_that_speaks_of_parameters_teaches_nothing() -> None:
    def says(request: Request) -> Reply | None:
        long = request.question == "long"
        return (
            refusal(400, "'max_tokens' or 'max_completion_tokens' is too large: 50; top_p, temperature")
            if long
            else None
        )

    with endpoint(says) as server:
        answers = ask(settings(server.address), [row("long"), row("short")], at_once=1)
    assert answers["long"]["failure"] == REFUSED and answers["short"]["failure"] == ""
    assert {"max_tokens", "top_p", "temperature"} <= server.requests[-1].body.keys()


# When to ask again ------------------------------------------------------------------------------------------------------
NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After-Ms": "250", "Retry-After": "7"}, 0.25),
        ({"Retry-After": "86400"}, LONGEST_WAIT),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9),
        ({"Retry-After": format_datetime(NOW - timedelta(hours=3), usegmt=True)}, 0),
        ({"Retry-After": format_datetime(NOW + timedelta(days=400), usegmt=True)}, LONGEST_WAIT),
        (  # a server whose clock is a year behind: its own Date counts
            {"Retry-After": "Fri, 10 May 2030 00:00:20 GMT", "Date": "Fri, 10 May 2030 00:00:08 GMT"},
            12,
        ),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "20ms"}, 1),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "3",
                "x-ratelimit-reset-tokens": "1.5s",
            },
            1.5,
        ),
        ({"anthropic-ratelimit-tokens-reset": "2031-05-06T07:08:20Z", "anthropic-ratelimit-tokens-remaining": "0"}, 11),
        ({"x-ratelimit-reset-requests": "whenever"}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds", "reset"])
def test_a_busy_address_slows_all_that_comes_with_the_key(form: str) -> None:
    date = datetime.now(UTC)
    headers = {
        "seconds": {"Retry-After": "1"},
        "date": {
            "Retry-After": format_datetime(date + timedelta(seconds=1), usegmt=True), "Date": format_datetime(date, usegmt=True),
        },
        "milliseconds": {"retry-after-ms": "1000"},
        "reset": {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"},
    }  # fmt: skip

    def says(request: Request) -> Reply | None:
        return refusal(429, "slow down", headers[form]) if request.question == "row 5" and request.number == 1 else None

    with endpoint(says, seconds=0.05) as server:
        answers = ask(settings(server.address), rows(40), at_once=4)
    assert failures(answers) == {"": 40}
    at = sorted(request.at for request in server.requests)
    assert max(later - earlier for earlier, later in itertools.pairwise(at)) > 0.9


@pytest.mark.parametrize("status", [429, 500])
def test_a_server_that_asks_for_no_wait_at_all_is_given_a_growing_one(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msm_ray.engines.endpoint.waits.FIRST_WAIT", 0.2)
    later = refusal(status, "later", {"Retry-After": "0"})
    with endpoint(lambda request: later if request.number <= 3 else None) as server:
        answers = ask(settings(server.address), rows(1))
    assert failures(answers) == {"": 1}
    waits = [after.at - before.at for before, after in itertools.pairwise(server.requests)]
    assert len(waits) == 3 and all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True))


def test_only_the_key_that_is_busy_waits() -> None:
    with endpoint(lambda r: refusal(429, "later", {"Retry-After": "30"}) if r.key == "busy" else None) as server:
        began = time.monotonic()
        answers = ask(settings(server.address), rows(30), keys=("busy", "free"), at_once=2)
    assert failures(answers) == {"": 30} and time.monotonic() - began < 20
    assert sum(request.key == "busy" for request in server.requests) <= 2  # those on their way when it said so


def test_half_of_all_requests_are_told_later_and_all_rows_are_answered(short_waits: None) -> None:
    lots = random.Random(3)

    with endpoint(lambda request: refusal(429, "later") if lots.random() < 0.5 else None) as server:
        answers = ask(settings(server.address, request_tries=1), rows(300))  # "later" is no try
    assert failures(answers) == {"": 300} and Counter(server.answered).most_common(1)[0][1] == 1
    assert len(server.requests) > 500


def test_a_rate_limit_that_never_ends_is_given_up_with_the_servers_words(
    short_waits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "NOBODY_ANSWERED", 0.3)
    with endpoint(lambda request: refusal(429, "limit of the day reached")) as server:
        answers = ask(settings(server.address), rows(10))
    assert failures(answers) == {LOST: 10}
    assert "HTTP 429" in answers["row 3"]["error"] and "limit of the day reached" in answers["row 3"]["error"]


def test_only_refusals_without_an_answer_between_them_are_a_reason_to_give_up() -> None:
    async def told() -> list[bool]:
        now = [0.0]
        limits = Limits(1, clock=lambda: now[0])

        async def refused(at: float) -> bool:
            now[0] = at
            return await limits.busy((0, 0), 0.0, 0.0)

        hopeful = [await refused(1000), await refused(1060)]  # nothing was asked before: no reason yet
        now[0] = 1200
        await limits.answered((0, 0), 0.0)
        hopeful += [await refused(at) for at in range(1400, 1700, 60)]
        return [*hopeful, await refused(1701), await refused(5000)]

    assert asyncio.run(told()) == [True] * 7 + [False, True]


def test_an_engine_that_is_dead_has_its_tries_and_no_more(short_waits: None) -> None:
    with endpoint(lambda request: refusal(500, "the engine is dead")) as server:
        answers = ask(settings(server.address, request_tries=3), rows(4))
    assert failures(answers) == {LOST: 4} and len(server.requests) == 12
    assert "the engine is dead" in answers["row 0"]["error"]


def test_a_refusal_under_status_200_is_a_refusal(short_waits: None) -> None:
    said = {"error": {"message": "the provider behind this router is down", "code": 502}}
    with endpoint(lambda request: Reply(200, said) if request.number == 1 else None) as server:
        answers = ask(settings(server.address), rows(3))
    assert failures(answers) == {"": 3} and len(server.requests) == 6


# Time ------------------------------------------------------------------------------------------------------------------
def test_a_request_ends_at_its_limit_though_a_byte_comes_now_and_then(short_waits: None) -> None:
    with endpoint(trickles=True) as server:
        began = time.monotonic()
        answers = ask(settings(server.address, request_seconds=0.5, request_tries=2), rows(3))
    assert time.monotonic() - began < 20 and len(server.requests) == 6
    assert failures(answers) == {LOST: 3}
    told = answers["row 0"]["error"]
    assert "no answer within the time limit of a request" in told
    assert f"from {server.address} within 0.5 seconds (`request_seconds`)" in told


def test_an_address_that_does_not_answer_is_named_while_it_is_waited_for(short_waits: None) -> None:
    async def run(address: str) -> list[str]:
        asker = Asker(settings(address, request_seconds=0.3, request_tries=3), ["none"])
        told = [asker.told]
        for each in ("never", "at once"):
            await asker.answer(row(each))
            told.append(asker.told)
        await asker.close()
        return told

    def says(request: Request) -> Reply | None:
        if request.question == "never":
            time.sleep(1)
        return None

    with endpoint(says) as server:
        before, silent, after = asyncio.run(run(server.address))
    assert before == "" and after == ""
    assert silent.startswith(f"3 requests in a row without an answer from {server.address} within 0.3 seconds")


# Spending --------------------------------------------------------------------------------------------------------------
PRICES = (1.0, 100.0)
COST = (READ * PRICES[0] + WRITTEN * PRICES[1]) / 1e6


@pytest.mark.parametrize("limit", [0.05, 0.2])
def test_what_is_spent_stays_within_the_limit_though_half_is_told_later(
    limit: float, short_waits: None, tmp_path: Path
) -> None:
    lots, accounts = random.Random(5), []

    def account() -> Account:
        accounts.append(Account(str(tmp_path / "spend.jsonl"), limit, 0.0))
        return accounts[0]

    def says(request: Request) -> Reply | None:
        return random.Random(lots.random()).choice([refusal(429, "later"), refusal(500, "dead"), None, None])

    with endpoint(says) as server:
        how = settings(server.address, prices=PRICES, request_tries=40)
        answers = ask(how, rows(300), account=account)
    told = failures(answers)
    noted = [json.loads(line)["dollars"] for line in (tmp_path / "spend.jsonl").read_text().splitlines()]
    assert len(server.answered) * COST <= limit
    assert sum(noted) == pytest.approx(len(server.answered) * COST) and accounts[0].spent == pytest.approx(sum(noted))
    assert accounts[0].aside == 0
    assert told[""] == len(server.answered) and told[""] + told[SPENT] == 300
    assert (told[""] == 300) == (limit == 0.2)


def test_of_several_askers_none_finds_a_key_when_all_are_gone() -> None:
    async def gone() -> tuple[int, str]:
        limits = Limits(2)
        assert await limits.drop((0, 0), "HTTP 402") == 1
        assert (await limits.admit(1))[0] == 1
        assert await limits.drop((1, 0), "HTTP 401") == 0
        return (await limits.admit(1))[0], await limits.why_none()

    assert asyncio.run(gone()) == (NO_KEY, "HTTP 401")
