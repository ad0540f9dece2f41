"""One vLLM engine in a Ray actor. It takes parcels of prompts, and gives answers as they are finished, one by one."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_ray.engines import Answer, failed
from msm_ray.engines.pool.failing import ERROR_LINE, failure_of

Parcel = Sequence[tuple[int, Mapping[str, Any]]]
"""Prompts with the numbers by which their client knows them."""

FEW, SOON, TOGETHER_SECONDS = 16, 0.005, 0.1
"""Answers that are finished within this time go back in one message; soon, where only few prompts are being answered."""
LONGEST_WAIT = 20.0
"""Seconds after which a client that waits for answers is told that there are none yet."""
LAST_LINES, TAIL_BYTES = 12, 60_000


class EngineDied(Exception):
    """The engine can't answer any more. The message has what it said last."""


class VllmEngine:
    """A vLLM engine. It knows prompts and completions, and nothing of what they are about."""

    def __init__(self, model: str, arguments: Mapping[str, Any], ends: Sequence[int]):
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            self.llm = AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **arguments))
        except Exception as error:
            raise EngineDied(f"the engine did not start: {type(error).__name__}: {error}\n{last_words()}") from None
        self.ends, self.numbers = list(ends), itertools.count()
        self.finished: dict[str, deque[tuple[int, Answer]]] = {}
        self.something: dict[str, asyncio.Event] = {}
        self.working: dict[asyncio.Task[None], str] = {}
        self.dead = ""

    async def ready(self) -> int:
        """Its process, when it can answer."""
        return os.getpid()

    async def take(self, client: str, options: Mapping[str, Any], parcel: Parcel) -> None:
        """Begin to answer prompts. options: of the chat template."""
        for number, row in parcel:
            task = asyncio.get_running_loop().create_task(self._answer(client, number, row, options))
            self.working[task] = client
            task.add_done_callback(lambda task: self.working.pop(task, None))

    async def give(self, client: str) -> list[tuple[int, Answer]]:
        """Answers that are finished since the last time; waits for one, though not for ever. Raises EngineDied."""
        if self.dead:
            raise EngineDied(self.dead)
        waiting = self.finished.setdefault(client, deque())
        if not waiting:
            event = self.something[client] = asyncio.Event()
            try:
                await asyncio.wait_for(event.wait(), LONGEST_WAIT)
            except TimeoutError:
                return []
            await asyncio.sleep(TOGETHER_SECONDS if len(self.working) > FEW else SOON)
        if self.dead:
            raise EngineDied(self.dead)
        self.finished[client] = deque()
        return list(waiting)

    async def drop(self, client: str) -> None:
        """A client is gone: what is answered for it is worth nothing any more."""
        for task in [task for task, whose in self.working.items() if whose == client]:
            task.cancel()
        self.finished.pop(client, None)
        self.something.pop(client, None)

    async def unfinished(self) -> int:
        """Prompts that are being answered."""
        return len(self.working)

    async def end(self) -> None:
        """Let go of the model and of the engine's own processes."""
        self.llm.shutdown()

    async def _answer(self, client: str, number: int, row: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            answer = await self._complete(row, options)
        except EngineDeadError as error:
            self.dead = self.dead or f"the engine died: {error}\n{last_words()}"
            for event in self.something.values():
                event.set()
            return
        except Exception as error:  # a prompt's own trouble is its answer; the others go on
            told = f"{type(error).__name__}: {error}"
            answer = failed(told, failure_of(told))
        self.finished.setdefault(client, deque()).append((number, answer))
        if waiting := self.something.get(client):
            waiting.set()

    async def _complete(self, row: Mapping[str, Any], options: Mapping[str, Any]) -> Answer:
        request = str(next(self.numbers))
        async for output in self.llm.generate(self._prompt(row, options), self._sampling(row), request_id=request):
            last = output
        told = last.outputs[0]
        return {
            "completion": told.text,
            "finish_reason": told.finish_reason or "stop",
            "num_input_tokens": len(last.prompt_token_ids or ()),
            "num_generated_tokens": len(told.token_ids),
            "error": "",
            "failure": "",
        }

    def _prompt(self, row: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """A text as it is; a chat in the template's form, whose special tokens are all there already."""
        if "messages" not in row:
            return row["prompt"]
        turns = [dict(turn) for turn in row["messages"]]
        tokenizer: Any = self.llm.get_tokenizer()
        asked = {"add_generation_prompt": True, "tokenize": True, "return_dict": False, **options}
        return {"prompt_token_ids": tokenizer.apply_chat_template(turns, **asked)}

    def _sampling(self, row: Mapping[str, Any]) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        schema = row.get("json_schema")
        return SamplingParams(
            temperature=row["temperature"],
            top_p=row["top_p"],
            max_tokens=row["max_tokens"],
            stop_token_ids=self.ends,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        )


def last_words() -> str:
    """What this process and its children said last: the errors among it where there are some; "" where it goes to no file."""
    try:
        path = Path("/proc/self/fd/2").readlink()
        said = path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line for line in said if ERROR_LINE.search(line)]
    return "It said last:\n" + "\n".join((errors or said)[-LAST_LINES:])
