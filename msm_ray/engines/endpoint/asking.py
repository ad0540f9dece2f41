"""One row asked of an address: with a key whose turn it is, again where that may help, never beyond what may be spent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from msm_ray.engines import Answer, failed
from msm_ray.engines.endpoint.keys import without_keys
from msm_ray.engines.endpoint.parameters import Parameters
from msm_ray.engines.endpoint.rates import NO_KEY, Limits, Permit
from msm_ray.engines.endpoint.requests import (
    body_of,
    estimated_tokens,
    may_be_charged,
    read_reply,
)
from msm_ray.engines.endpoint.waits import asked_wait, pause
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import dollars, most_dollars
from msm_ray.failures import SPENT, classify

BUSY = frozenset({429, 529})
"""Statuses that say "later" to all that comes with the key; so does a 503 that says when."""
LOGGER = logging.getLogger("msm_ray.engines.endpoint")


class AskAgain(Exception):
    """A try that failed, after which another may bring an answer. tries: so far, of those that count; wait: seconds."""

    def __init__(self, error: str, failure: str, tries: int, wait: float):
        super().__init__(error)
        self.error, self.failure, self.tries, self.wait = error, failure, tries, wait


class Asker:
    """Asks an address for rows, each in its own time; `answer` is called for as many at once as are wanted.

    keys: the address's keys; limits: the rates and keys that all askers share (`rates.Limits` or an actor of it); None: this
    asker's own. account: what may be spent, and is (`spending.Account` or an actor of it); None: nobody counts. in_flight: rows
    that it is to have at the same time, for whoever asks. Stops asking once the means are spent.
    """

    def __init__(
        self,
        settings: EngineSettings,
        keys: Sequence[str],
        limits: Any = None,
        account: Any = None,
        in_flight: int | None = None,
    ):
        from openai import AsyncOpenAI

        self.settings, self.keys, self.account = settings, tuple(keys), account
        self.in_flight = in_flight or settings.rows_in_flight
        self.limits = limits or Limits(len(self.keys), settings.requests_per_minute, settings.tokens_per_minute)
        self.parameters = Parameters(settings.model)
        self.spent, self.unanswered = "", 0
        first = AsyncOpenAI(
            base_url=settings.url, api_key=self.keys[0], max_retries=0, timeout=settings.request_seconds
        )
        self.clients = [first.with_options(api_key=key) for key in self.keys]  # one pool of connections

    @property
    def told(self) -> str:
        """What is told while nobody is answered."""
        return f"{self.unanswered} requests in a row without an answer {self._in_time()}" if self.unanswered else ""

    def _in_time(self) -> str:
        return f"from {self.settings.url} within {self.settings.request_seconds:g} seconds (`request_seconds`)"

    async def ready(self) -> None:
        """It needs no start."""

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """The answer to a row, or how it failed: never an error.

        It has `request_tries` tries. An address that says "later", a key that is given up and a parameter that is not taken are
        none of them: a row goes on waiting as long as others of its address are answered.
        """
        tried = [0]
        again = AsyncRetrying(
            retry=retry_if_exception_type(AskAgain), wait=wait_of, stop=self._is_last, retry_error_callback=last_answer,
            sleep=asyncio.sleep,
        )  # fmt: skip
        return await again(self._try, row, tried)

    async def close(self) -> None:
        """End its connections."""
        await self.clients[0].close()

    def _is_last(self, state: RetryCallState) -> bool:
        return problem_of(state).tries >= self.settings.request_tries

    async def _try(self, row: Mapping[str, Any], tried: list[int]) -> Answer:
        """Raises AskAgain."""
        if self.spent:
            return failed(self.spent, SPENT)
        if refused := await self._put_aside(row):
            self.spent = refused
            return failed(refused, SPENT)
        estimate = estimated_tokens(self.settings, row)
        permit = await self._admitted(row, estimate)
        if permit[0] == NO_KEY:  # another asker lost the last one
            await self._pay(row, None, owed=False)
            return self._without_any_key(await self.limits.why_none())
        sent = self.parameters.of(row)
        try:
            answer = await asyncio.wait_for(self._ask(row, sent, permit), self.settings.request_seconds)
        except asyncio.CancelledError:  # nobody waits for it any more, and the address may go on with it
            await self._pay(row, None)
            raise
        except Exception as problem:  # every kind of failure becomes a reason in its row, or ends the run
            await self._pay(row, None, owed=may_be_charged(problem))
            return await self._failed(problem, permit, sent, estimate, tried)
        self.unanswered = 0
        used = answer["num_input_tokens"] + answer["num_generated_tokens"]
        await asyncio.gather(self._pay(row, answer), self.limits.answered(permit, estimate - used if used else 0.0))
        return answer

    async def _admitted(self, row: Mapping[str, Any], estimate: float) -> Permit:
        try:
            permit: Permit = await self.limits.admit(estimate)
            return permit
        except asyncio.CancelledError:
            await self._pay(row, None, owed=False)
            raise

    async def _ask(self, row: Mapping[str, Any], sent: Mapping[str, Any], permit: Permit) -> Answer:
        path = "/chat/completions" if self.settings.chat else "/completions"
        body = body_of(self.settings, row, sent)
        # By `post` and not `create`, which looks every message through once more; a reply comes as it was sent.
        reply = await self.clients[permit[0]].post(path, body=body, cast_to=object)
        return read_reply(reply, self.settings.chat)

    async def _failed(
        self, problem: Exception, permit: Permit, sent: Mapping[str, Any], estimate: float, tried: list[int]
    ) -> Answer:
        """What follows from a try that failed: the row's failure in the end, or AskAgain, raised."""
        error, failure, may_help = classify(problem)
        if may_be_charged(problem):
            error = f"{error}; none came {self._in_time()}"
            if not self.unanswered:
                LOGGER.warning("a request got no answer %s", self._in_time())
            self.unanswered += 1
        error = without_keys(error, self.keys)
        if failure == SPENT:
            return await self._without_key(error, permit, tried)
        learned, told = self.parameters.learn(problem, sent)
        if learned:
            raise AskAgain(error, failure, tried[0], 0)
        status, response = getattr(problem, "status_code", None), getattr(problem, "response", None)
        asked = asked_wait(response.headers) if response is not None else None
        if status in BUSY or (status == 503 and asked is not None):
            hopeful = await self.limits.busy(permit, asked, estimate)
            if status != 429:
                tried[0] += 1
            elif not hopeful:
                tried[0] = self.settings.request_tries
            raise AskAgain(error, failure, tried[0], 0)
        if not may_help:
            return failed(error + told, failure)
        tried[0] += 1
        raise AskAgain(error, failure, tried[0], pause(asked, tried[0]))

    async def _without_key(self, error: str, permit: Permit, tried: list[int]) -> Answer:
        """Give up a key that is refused or spent; the others go on, and with the last one all ends."""
        left = await self.limits.drop(permit, error)
        if not left:
            return self._without_any_key(error)
        LOGGER.warning("one of the keys in %s is given up: %s; %d left", self.settings.key_variable, error, left)
        raise AskAgain(error, SPENT, tried[0], 0)

    def _without_any_key(self, error: str) -> Answer:
        which = "the key" if len(self.keys) == 1 else f"the last of the {len(self.keys)} keys"
        self.spent = self.spent or f"{error} ({which} in {self.settings.key_variable})"
        return failed(self.spent, SPENT)

    async def _put_aside(self, row: Mapping[str, Any]) -> str:
        """Put the most that a request can cost aside; why not, where the limit would be passed."""
        most, seconds = most_dollars(self.settings, row), self.settings.request_seconds
        return await self.account.put_aside(most, seconds) if self.account else ""

    async def _pay(self, row: Mapping[str, Any], answer: Answer | None, owed: bool = True) -> None:
        """Note what a request cost. Where nobody says (no usage, or no answer came back in time) it is the most that it can.

        Also of a row that nobody waits for any more: it is noted before that goes on. Where it can't be, this answer is kept and
        nothing more is asked.
        """
        if self.account is None:
            return
        most = most_dollars(self.settings, row)
        counted = answer and answer["num_generated_tokens"]
        cost = (
            dollars(self.settings, answer["num_input_tokens"], answer["num_generated_tokens"])
            if answer and counted
            else most * owed
        )
        settled = asyncio.ensure_future(
            self.account.settle(most, cost, {"model": self.settings.model, "id": row["id"]})
        )
        try:
            self.spent = await asyncio.shield(settled) or self.spent
        except asyncio.CancelledError:
            await settled
            raise


def problem_of(state: RetryCallState) -> AskAgain:
    """How the last try ended."""
    problem = state.outcome.exception() if state.outcome else None
    assert isinstance(problem, AskAgain)
    return problem


def wait_of(state: RetryCallState) -> float:
    """Seconds before the next try."""
    return problem_of(state).wait


def last_answer(state: RetryCallState) -> Answer:
    """What is said of a row whose tries are used up."""
    problem = problem_of(state)
    return failed(problem.error, problem.failure)
