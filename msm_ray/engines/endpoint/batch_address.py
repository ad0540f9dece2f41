"""The Batch API of an address: a file is uploaded, a batch made of it, asked for, and its results read."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from msm_ray.engines.endpoint.batch_lines import NotDone, Result, read_results
from msm_ray.engines.endpoint.requests import RefusedReply
from msm_ray.failures import SPENT, SPENT_CODES, classify

Got = TypeVar("Got")
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
WINDOW = "24h"
LONGEST_SECONDS = 26 * 3600.0
"""After this a batch is no longer waited for; it stays in the journal."""
TOKEN = "msm_ray"
"""Under this name a batch carries its token."""
TRIES, LONGEST_WAIT = 5, 30.0
MOST_LISTED = 1000
"""Batches that are looked through for one whose id was never heard."""
LOGGER = logging.getLogger("msm_ray.engines.endpoint")


class BatchAddress:
    """Talks with an address about batches, with the first of its keys that is not refused; a batch belongs to its key."""

    def __init__(self, url: str, variable: str, keys: Sequence[str], seconds: float):
        from openai import AsyncOpenAI

        self.variable, self.count = variable, len(keys)
        first = AsyncOpenAI(base_url=url, api_key=keys[0], max_retries=0, timeout=seconds)
        self.clients = [first.with_options(api_key=key) for key in keys]
        self.own: dict[str, Any] = {}
        """The client of each batch."""

    async def create(self, token: str, path: str, content: bytes) -> str:
        """The id of a new batch of these requests. Raises the client's error; then there is none."""
        while True:
            client = self.clients[0]
            try:
                return await self._create(client, token, path, content)
            except Exception as problem:
                if classify(problem)[1] != SPENT or len(self.clients) == 1:
                    raise
                self.clients.remove(client)
                LOGGER.warning("one of the keys in %s is given up; %d left", self.variable, len(self.clients))

    async def _create(self, client: Any, token: str, path: str, content: bytes) -> str:
        file = await _patient(lambda: client.files.create(file=(f"msm_ray-{token}.jsonl", content), purpose="batch"))

        tries = itertools.count()

        async def once() -> str:
            if next(tries) and (
                found := await self._listed(client, token)
            ):  # a try came through, and its reply did not
                return found
            made = await client.batches.create(
                input_file_id=file.id, endpoint=path, completion_window=WINDOW, metadata={TOKEN: token}
            )
            return made.id

        batch = await _patient(once)
        self.own[batch] = client
        return batch

    async def find(self, token: str) -> str:
        """The id of the batch with a token, "" where there is none."""
        for client in self.clients:
            if found := await _patient(lambda client=client: self._listed(client, token)):  # type: ignore[misc]
                self.own[found] = client
                return found
        return ""

    async def _listed(self, client: Any, token: str) -> str:
        looked = 0
        async for batch in client.batches.list(limit=100):
            if (batch.metadata or {}).get(TOKEN) == token:
                return batch.id
            looked += 1
            if looked >= MOST_LISTED:
                break
        return ""

    async def wait(self, batch: str, poll_seconds: float) -> Any:
        """The batch once it has ended. Raises TimeoutError after LONGEST_SECONDS, and the client's error for what lasts."""
        async with asyncio.timeout(LONGEST_SECONDS):
            while True:
                try:
                    found = await self._retrieve(batch)
                except Exception as problem:
                    if not classify(problem)[2]:
                        raise
                    LOGGER.warning("how far batch %s is was not told: %s", batch, classify(problem)[0])
                else:
                    if found.status in ENDED:
                        return found
                await asyncio.sleep(poll_seconds)

    async def _retrieve(self, batch: str) -> Any:
        """The batch, by the key that it was sent with: after a kill that is the one that finds it."""
        clients = [self.own[batch]] if batch in self.own else list(self.clients)
        for place, client in enumerate(clients):
            try:
                found = await _patient(lambda client=client: client.batches.retrieve(batch))  # type: ignore[misc]
                self.own[batch] = client
                return found
            except Exception as problem:
                if getattr(problem, "status_code", None) not in (401, 403, 404) or place + 1 == len(clients):
                    raise
        raise AssertionError("an address has a key")

    async def results(self, batch: Any) -> dict[str, Result]:
        """What came of the requests of a batch that has ended, whole or in part."""
        found: dict[str, Result] = {}
        for file in (batch.error_file_id, batch.output_file_id):
            if file:
                content = await _patient(lambda file=file: self.own[batch.id].files.content(file))  # type: ignore[misc]
                found |= read_results(content.text)
        return found


def why_not(batch: Any) -> NotDone | RefusedReply:
    """Why a request of a batch that has ended has no result."""
    said = list((batch.errors.data if batch.errors else None) or [])
    told = f"batch {batch.id}: {batch.status} {'; '.join(f'{each.code}: {each.message}' for each in said[:3])}".strip()
    codes = {each.code or "" for each in said}
    if spent := codes & SPENT_CODES:
        return RefusedReply(402, {"message": told, "code": min(spent)})
    full = any("limit" in code for code in codes)
    return NotDone(told, full or batch.status in ("expired", "completed"), full)


async def _patient(call: Callable[[], Awaitable[Got]]) -> Got:
    """What a call gives, tried again where that may help."""

    async def once() -> Got:
        return await call()

    again = AsyncRetrying(
        retry=retry_if_exception(lambda problem: classify(problem)[2]), stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=1, max=LONGEST_WAIT), reraise=True, sleep=asyncio.sleep,
    )  # fmt: skip
    return await again(once)
