"""Rows asked by an address's Batch API: gathered into batches, answered within a day for half the price.

`Batches` is shared by all who ask an address in a run, so that batches are whole and one journal knows them. A row whose request
is in a batch of an earlier run is answered from that and never sent again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type

from msm_ray.engines import Answer, failed
from msm_ray.engines.batch_journal import BatchJournal, Sent
from msm_ray.engines.endpoint.asking import AskAgain, last_answer, problem_of, wait_of
from msm_ray.engines.endpoint.batch_address import BatchAddress, why_not
from msm_ray.engines.endpoint.batch_lines import NotDone, Result, line_of, path_of, request_key
from msm_ray.engines.endpoint.keys import without_keys
from msm_ray.engines.endpoint.parameters import Parameters
from msm_ray.engines.endpoint.requests import body_of, read_reply
from msm_ray.engines.endpoint.waits import growing
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import asked_prices, most_dollars
from msm_ray.failures import LOST, SPENT, classify

MOST_BYTES = 150 * 2**20
"""Of a file of requests; OpenAI takes 200 MB."""


@dataclass
class Gathered:
    """Requests of one model that wait for their batch to be sent. last: when the last one came."""

    settings: EngineSettings
    last: float
    lines: dict[str, bytes] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    futures: dict[str, asyncio.Future[Result]] = field(default_factory=dict)
    bytes: int = 0


class Batches:
    """The batches of an address in a run, and those of earlier runs. Made where an event loop runs.

    settings: address, key variable, and how batches are gathered and polled; account: what may be spent, and is.
    """

    def __init__(self, settings: EngineSettings, keys: Sequence[str], journal: Path, account: Any = None):
        self.how, self.keys, self.account = settings, tuple(keys), account
        self.address = BatchAddress(settings.url or "", settings.key_variable, keys, settings.request_seconds)
        self.journal = BatchJournal(journal)
        self.parameters: dict[str, Parameters] = {}
        self.gathering: dict[tuple[str, str], Gathered] = {}
        ours = [each for each in self.journal.sent.values() if (each.url, each.variable) == self._who]
        self.open_before = {each.token for each in ours if not each.ended}
        self.token_of = {key: each.token for each in ours if each.batch or not each.ended for key in each.most}
        self.followed: dict[str, asyncio.Task[dict[str, Result]]] = {}
        self.taken: Counter[str] = Counter()
        self.asking: dict[str, asyncio.Task[Answer]] = {}
        self.at_work: set[asyncio.Task[None]] = set()
        self.spent = ""

    @property
    def _who(self) -> tuple[str, str]:
        return self.how.url or "", self.how.key_variable

    async def answer(self, settings: EngineSettings, row: Mapping[str, Any]) -> Answer:
        """The answer to a row, or how it failed; it has `request_tries` batches. Who asks the same meanwhile gets the same."""
        for token in self.open_before:
            if not self.journal.sent[token].ended:
                self._follow(token)  # also where nobody asks for its rows: it has to be paid
        key = request_key(settings, row)
        if key not in self.asking:
            self.asking[key] = asyncio.create_task(self._answer(settings, row, key))
            self.asking[key].add_done_callback(lambda task: self.asking.pop(key))
        return await asyncio.shield(self.asking[key])

    async def _answer(self, settings: EngineSettings, row: Mapping[str, Any], key: str) -> Answer:
        if (found := await self._of_earlier(key)) is not None:
            return read_reply(found, settings.chat) if isinstance(found, dict) else self._unread(found)
        again = AsyncRetrying(
            retry=retry_if_exception_type(AskAgain), wait=wait_of, retry_error_callback=last_answer, sleep=asyncio.sleep,
            stop=lambda state: problem_of(state).tries >= settings.request_tries,
        )  # fmt: skip
        return await again(self._try, settings, row, key, [0])

    def _unread(self, problem: Exception) -> Answer:
        error, failure, _ = self._told(problem)
        return failed(f"an earlier batch with this request can't be read: {error}", failure)

    async def _of_earlier(self, key: str) -> dict[str, Any] | Exception | None:
        """The reply to a request in a batch that was sent before, or why that can't be known; None: there is none."""
        if (token := self.token_of.get(key)) is None:
            return None
        was_open, following = not self.journal.sent[token].ended, self._follow(token)
        try:
            results = await following
        except Exception as problem:
            if self.followed.get(token) is following:
                del self.followed[token]  # whoever asks later tries again
            gone = getattr(problem, "status_code", None) in (404, 410)  # results are kept for a time
            return None if gone and not was_open else problem
        self.taken[token] += 1
        if self.taken[token] == len(results):
            self.followed.pop(token, None)  # thousands of texts, which can be had again
        result = results.get(key)
        return result if isinstance(result, dict) else None

    def _follow(self, token: str) -> asyncio.Task[dict[str, Result]]:
        """The results of a batch, as a task that all share who wait for it."""
        if token not in self.followed:
            self.followed[token] = asyncio.create_task(self._results(token))
        return self.followed[token]

    async def _try(self, settings: EngineSettings, row: Mapping[str, Any], key: str, tried: list[int]) -> Answer:
        """Raises AskAgain."""
        if self.spent:
            return failed(self.spent, SPENT)
        most = most_dollars(settings, row)
        if self.account and (refused := await self.account.put_aside(most)):
            self.spent = refused
            return failed(refused, SPENT)
        parameters = self.parameters.setdefault(settings.model, Parameters(settings.model))
        sent = parameters.of(row)
        try:
            result = await self._gathered(settings, key, body_of(settings, row, sent), most)
            if isinstance(result, Exception):
                raise result
            return read_reply(result, settings.chat)
        except NotDone as problem:
            if problem.full and await self._room_for_another():
                raise AskAgain(str(problem), LOST, tried[0], 0) from problem
            tried[0] += 1
            told = str(problem) + (": a lower batch_requests makes smaller batches" if problem.full else "")
            if problem.again:
                raise AskAgain(told, LOST, tried[0], growing(tried[0])) from problem
            return failed(told, LOST)
        except Exception as problem:
            return self._failed(problem, parameters, sent, tried)

    async def _room_for_another(self) -> bool:
        """Wait until a batch of this run has ended; whether there was one to wait for."""
        open_ones = [task for task in self.followed.values() if not task.done()]
        if open_ones:
            await asyncio.wait(open_ones, return_when=asyncio.FIRST_COMPLETED)
        return bool(open_ones)

    def _failed(self, problem: Exception, parameters: Parameters, sent: Mapping[str, Any], tried: list[int]) -> Answer:
        error, failure, may_help = self._told(problem)
        if failure == SPENT:
            self.spent = self.spent or error
        learned, told = parameters.learn(problem, sent)
        if not may_help and not learned:
            return failed(error + told, failure)
        tried[0] += not learned
        raise AskAgain(error, failure, tried[0], growing(tried[0] + 1)) from problem

    def _told(self, problem: Exception) -> tuple[str, str, bool]:
        """`classify`, without a key in it and, where it is for the keys' sake, with their variable."""
        error, failure, may_help = classify(problem)
        which = f" (the keys in {self.how.key_variable})" if failure == SPENT else ""
        return without_keys(error, self.keys) + which, failure, may_help

    def _gathered(
        self, settings: EngineSettings, key: str, body: Mapping[str, Any], most: float
    ) -> asyncio.Future[Result]:
        """What comes of a request, which goes with the next batch of its model."""
        where, loop = (settings.model, path_of(settings)), asyncio.get_running_loop()
        line = line_of(key, where[1], body)
        waiting = self.gathering.get(where)
        if waiting is None or len(waiting.lines) >= self.how.batch_requests or waiting.bytes + len(line) > MOST_BYTES:
            waiting = self.gathering[where] = Gathered(settings, loop.time())
            task = asyncio.create_task(self._send_in_time(where, waiting))
            self.at_work.add(task)  # an event loop holds tasks only weakly
            task.add_done_callback(self.at_work.discard)
        waiting.lines[key], waiting.most[key], waiting.futures[key] = line, most, loop.create_future()
        waiting.last, waiting.bytes = loop.time(), waiting.bytes + len(line)
        return waiting.futures[key]

    async def _send_in_time(self, where: tuple[str, str], waiting: Gathered) -> None:
        """Send what is gathered once it is full, or nothing more has come for a while."""
        loop, gather = asyncio.get_running_loop(), self.how.batch_gather_seconds
        while self.gathering.get(where) is waiting and len(waiting.lines) < self.how.batch_requests:
            if (left := waiting.last + gather - loop.time()) <= 0:
                break
            await asyncio.sleep(min(left, 0.1))
        if self.gathering.get(where) is waiting:
            del self.gathering[where]
        try:
            results = await self._sent(where, waiting)
        except Exception as problem:
            results = dict.fromkeys(waiting.lines, problem)  # type: ignore[arg-type]  # told of each row
        for key, future in waiting.futures.items():
            if not future.done():
                future.set_result(results[key])

    async def _sent(self, where: tuple[str, str], waiting: Gathered) -> dict[str, Result]:
        """Send a batch and wait for its results; its token is on disk before, its id as soon as it is known."""
        token = uuid.uuid4().hex
        self.journal.intend(Sent(token, *self._who, where[0], waiting.most, asked_prices(waiting.settings)))
        try:
            batch = await self.address.create(token, where[1], b"".join(waiting.lines.values()))
        except Exception as problem:
            batch = await self._perhaps_created(token, problem)
        self.journal.created(token, batch)
        self.token_of |= dict.fromkeys(waiting.lines, token)
        try:
            return await self._follow(token)
        except Exception as problem:
            if classify(problem)[1] == SPENT:
                raise
            why = classify(problem)[0]
            told = f"batch {batch} is sent, and what came of it can't be read ({why}); the next run goes on by its id"
            raise NotDone(told, False) from problem
        finally:
            self.followed.pop(token, None)

    async def _perhaps_created(self, token: str, problem: Exception) -> str:
        """The id of a batch of which nobody heard whether it was taken. Raises why there is none, or why that isn't known."""
        status = getattr(problem, "status_code", None) or 500
        if status >= 500:
            try:
                if found := await self.address.find(token):
                    return found
            except Exception:
                told = f"whether {self.how.url} took a batch is not known ({classify(problem)[0]}); the next run will find out"
                raise NotDone(told, False) from problem
        await self._end(token, "refused", 0.0)
        if status in (404, 405, 501):
            told = f"{self.how.url} has no Batch API ({classify(problem)[0]}): leave `batch` out"
            raise NotDone(told, False) from problem
        raise problem

    async def _results(self, token: str) -> dict[str, Result]:
        """Everything that a batch has to say of its requests, once it has ended; what it cost is noted then."""
        sent = self.journal.sent[token]
        if token in self.open_before and self.account:
            self.open_before.discard(token)
            await self.account.adopt(sum(sent.most.values()), sent.batch)
        batch_id = sent.batch or await self.address.find(token)
        if not batch_id:
            await self._end(token, "never sent", 0.0)
            return dict.fromkeys(sent.most, NotDone("it was never sent", True))
        if not sent.batch:
            self.journal.created(token, batch_id)
        batch = await self.address.wait(batch_id, self.how.batch_poll_seconds)
        found = await self.address.results(batch)
        if not sent.ended:
            cost = sum(_cost(each, sent, key) for key, each in found.items() if key in sent.most)
            await self._end(token, batch.status, cost)
        return {key: found.get(key, why_not(batch)) for key in sent.most}

    async def _end(self, token: str, how: str, cost: float) -> None:
        """Note what a batch cost, then that it has ended: a kill between the two finds the first and does nothing twice."""
        sent = self.journal.sent[token]
        if self.account:
            noted = {"model": sent.model, "batch": sent.batch, "requests": len(sent.most)}
            if told := await self.account.settle(sum(sent.most.values()), cost, noted):
                self.spent = self.spent or told
                return  # the next run notes it
        self.journal.ended(token, how)


def _cost(result: Result, sent: Sent, key: str) -> float:
    """What a request cost: what its usage says; the most that it can where an answer says nothing."""
    if not isinstance(result, dict) or not sent.prices:
        return 0.0
    usage = result.get("usage") or {}
    read, written = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return (read * sent.prices[0] + written * sent.prices[1]) / 1e6 if written else sent.most[key]


class BatchAsker:
    """Asks for rows by batches. `answer` is called for as many at once as are wanted: for a whole batch (`in_flight`), best."""

    def __init__(self, settings: EngineSettings, batches: Any):
        self.settings, self.batches, self.in_flight = settings, batches, settings.rows_in_flight

    async def ready(self) -> None:
        """It needs no start."""

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """The answer to a row, or how it failed: never an error."""
        return await self.batches.answer(self.settings, row)

    async def close(self) -> None:
        """Nothing of its own to end."""
