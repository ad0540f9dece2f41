"""What a keeper starts in tests: an engine with the methods of vLLM's, that answers after a time and dies when it is told to."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

SECONDS = 0.05
KILLER = "die"


class SlowEngine:
    """model: "" or why it does not start. A prompt that is `KILLER` ends its process."""

    def __init__(self, model: str, arguments: Mapping[str, Any], ends: Sequence[int]):
        if model:
            raise RuntimeError(model)
        self.seed, self.done, self.working = arguments["seed"], deque[tuple[int, Any]](), 0

    async def ready(self) -> int:
        return os.getpid()

    async def take(self, client: str, options: Mapping[str, Any], parcel: Sequence[tuple[int, Any]]) -> None:
        for number, row in parcel:
            asyncio.get_running_loop().create_task(self.answer(number, row))

    async def answer(self, number: int, row: Mapping[str, Any]) -> None:
        self.working += 1
        await asyncio.sleep(SECONDS)
        if row["prompt"] == KILLER:
            os._exit(1)
        self.working -= 1
        told = {"completion": f"{row['prompt']} by {self.seed} in {os.getpid()}", "error": "", "failure": ""}
        self.done.append((number, told))

    async def give(self, client: str) -> list[tuple[int, Any]]:
        for _ in range(100):
            if self.done:
                done, self.done = list(self.done), deque()
                return done
            await asyncio.sleep(0.01)
        return []

    async def drop(self, client: str) -> None:
        pass

    async def unfinished(self) -> int:
        return self.working

    async def end(self) -> None:
        pass
