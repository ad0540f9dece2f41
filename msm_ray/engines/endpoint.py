"""Any OpenAI-compatible address as an engine, asked with the openai client.

A request has a hard time limit and a bounded number of tries, with growing waits between them. A rate limit slows the run;
what no other row can survive (credentials, quota, billing) comes back marked as spent, at once, so that the run stops and what
was answered is kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from msm_ray.engines import Answer, EngineSettings, Opener, failed
from msm_ray.engines.spending import Spending, dollars, most_dollars
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.failures import LOST, SPENT, classify

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


def endpoint_opener(
    settings: EngineSettings,
    in_flight: int,
    spending: Spending | None = None,
    account: Callable[[], Any] = lambda: None,
) -> Opener:
    """Opens an engine that asks `settings.url`, with so many requests in flight.

    spending: what all requests may cost together; needs prices. account: opens what all of them are paid from. The settings'
    `chat_template_kwargs` are sent along where there are some, for a server that renders by a chat template.

    Raises SettingsError without address or model, PreflightError without the key that `key_variable` names (servers on
    this machine need none).
    """
    where = settings.section
    if not settings.url:
        raise SettingsError(
            f"{where}.engine is `endpoint` and {where}.url is missing: give the base address, such as https://host/v1."
        )
    if not settings.model:
        raise SettingsError(
            f"{where}.engine is `endpoint` and {where}.model is missing: name the model as the address knows it."
        )
    key = _key(settings)
    if spending and spending.limit is not None and settings.prices is None:
        raise SettingsError(
            f"writer.spend_limit is set and the prices of {settings.model} are not known; give {where}.prices"
        )

    return partial(Asker, settings, key, account() if spending and settings.prices else None, in_flight)


def _key(settings: EngineSettings) -> str:
    """The key, from the environment by name."""
    key = os.environ.get(settings.key_variable, "")
    local = urlsplit(settings.url or "").hostname in ("127.0.0.1", "localhost", "::1")
    if not key and not local:
        raise PreflightError(
            f"{settings.url} needs a key: put it into the environment variable {settings.key_variable}."
        )
    return key or "none"


class Asker:
    """Asks for rows one by one, many at the same time. Stops asking once the means are spent. in_flight: how many."""

    def __init__(self, settings: EngineSettings, key: str, account: Any = None, in_flight: int = 64):
        from openai import AsyncOpenAI

        self.settings, self.account, self.in_flight = settings, account, in_flight
        self.seconds, self.tries = settings.request_seconds, settings.request_tries
        self.client = AsyncOpenAI(base_url=settings.url, api_key=key, max_retries=0, timeout=settings.request_seconds)
        self.model, self.chat, self.structured = settings.model, settings.chat, settings.structured
        template = dict(settings.chat_template_kwargs)
        self.body: dict[str, Any] = {"chat_template_kwargs": template} if template else {}
        self.spent = ""

    async def ready(self) -> None:
        """It needs no start."""

    async def close(self) -> None:
        """Let go of the connections."""
        await self.client.close()

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """Ask until there is an answer, at most `tries` times; an error in the end is the row's."""
        error, failure = "", LOST
        for attempt in range(self.tries):
            if self.spent:
                return failed(self.spent, SPENT)
            if refused := await self._put_aside(row):
                self.spent = refused
                return failed(refused, SPENT)
            try:
                answer = await asyncio.wait_for(self._ask(row), self.seconds)
                await self._pay(row, answer)
                return answer
            except Exception as problem:  # every kind of failure becomes a reason in its row, or ends the run
                error, failure, again = classify(problem)
                await self._pay(row, None, owed=_may_be_charged(problem))
                if failure == SPENT:
                    self.spent = error
                if not again:
                    break
                if attempt + 1 < self.tries:
                    await asyncio.sleep(wait_before(attempt, problem))
        return failed(error, failure)

    async def _put_aside(self, row: Mapping[str, Any]) -> str:
        """Put the most that a request can cost aside; why not, where the limit would be passed."""
        return await self.account.put_aside.remote(most_dollars(self.settings, row)) if self.account else ""

    async def _pay(self, row: Mapping[str, Any], answer: Answer | None, owed: bool = True) -> None:
        """Note what a request cost. Where nobody says (no usage, or no answer came back in time) it is the most that it can."""
        if self.account is None:
            return
        most = most_dollars(self.settings, row)
        counted = answer and answer["num_generated_tokens"]
        cost = (
            dollars(self.settings, answer["num_input_tokens"], answer["num_generated_tokens"])
            if answer and counted
            else most * owed
        )
        await self.account.settle.remote(most, cost, {"model": self.model, "id": row["id"]})

    async def _ask(self, row: Mapping[str, Any]) -> Answer:
        sampling = {key: row[key] for key in ("temperature", "max_tokens")}
        if row["top_p"] != 1:  # some servers refuse it beside a temperature
            sampling["top_p"] = row["top_p"]
        body = self.body | (response_format(row["json_schema"]) if self.structured else {})
        if self.chat:
            messages: Any = [dict(message) for message in row["messages"]]
            reply = await self.client.chat.completions.create(
                model=self.model, messages=messages, extra_body=body, **sampling
            )
            choice = reply.choices[0] if reply.choices else None  # some filters take the whole answer away
            text, finish = (choice.message.content, choice.finish_reason) if choice else ("", "content_filter")
        else:
            reply = await self.client.completions.create(
                model=self.model, prompt=row["prompt"], extra_body=body, **sampling
            )
            choice = reply.choices[0] if reply.choices else None
            text, finish = (choice.text, choice.finish_reason) if choice else ("", "content_filter")
        usage = getattr(reply, "usage", None)
        return {
            "completion": text or "",
            "finish_reason": finish or "stop",
            "num_input_tokens": usage.prompt_tokens if usage else 0,
            "num_generated_tokens": usage.completion_tokens if usage else 0,
            "error": "",
            "failure": "",
        }


def _may_be_charged(problem: BaseException) -> bool:
    """Whether a request that failed may have been worked on: one that ran out of time, not one that never got through."""
    if getattr(problem, "status_code", None) is not None:
        return False
    causes = []
    while problem is not None:
        causes.append(type(problem).__name__)
        problem = problem.__cause__ or problem.__context__  # type: ignore[assignment]
    return any("Timeout" in name for name in causes) and not any("Connect" in name or "Pool" in name for name in causes)


def response_format(schema: str) -> dict[str, Any]:
    """What asks for an answer that keeps to a JSON schema, in OpenAI's form, which vLLM takes too."""
    asked = {"name": "answer", "strict": True, "schema": json.loads(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": asked}}


def wait_before(attempt: int, problem: BaseException) -> float:
    """Seconds to wait before the next try: what the server asks for, else doubling with jitter, a minute at most."""
    response = getattr(problem, "response", None)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    if asked.replace(".", "", 1).isdigit():
        return min(float(asked), LONGEST_WAIT)
    return min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)
