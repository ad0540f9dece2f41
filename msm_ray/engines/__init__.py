"""Who answers a prompt. Every engine is asked in one way: a row goes in, its answer comes out, many rows at the same time.

A row has `id`, `position`, a prompt (`messages`, a list of role and content, for engines that chat; `prompt`, a text to go on
from, for others), `temperature`, `top_p`, `max_tokens`, and other columns that are no engine's business. Where settings say
`structured`, it has a `json_schema` too (a text), which the completion keeps to; "" is none. For `offline` it has the answer
itself (`offline.composed`) and needs no prompt. An answer has `completion`, `finish_reason` ("stop", "length"),
`num_input_tokens`, `num_generated_tokens` (0: not counted), `error` ("" when the row was answered) and `failure`: how it failed
(`failures.REFUSED`, `LOST`, `DOUBTFUL`, `SPENT`), "" when it did not.

`engines.py` opens the one that settings name. Nothing here knows what prompts are about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msm_ray.engines.settings import DETERMINISTIC, EngineSettings

Answer = dict[str, Any]

PROMPT_COLUMNS = frozenset({"messages", "prompt", "json_schema", "temperature", "top_p", "max_tokens"})
"""Columns that are for the engine; all others are carried along."""


class Answerer(Protocol):
    """An engine as it is asked from one process, inside its event loop.

    It may have `told`, what there is to answer in words, and `can_answer`, whether there is anything now (else it always can).
    """

    @property
    def in_flight(self) -> int:
        """Rows that it wants to have at the same time, now: engines may come and go."""

    async def ready(self) -> None:
        """Return when it can answer. Raises MsmError where it never will."""

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """The answer to a row's prompt; an error is a column of the answer and is never raised."""

    async def close(self) -> None:
        """Nothing more is asked."""


Opener = Callable[[], Answerer]
"""Opens an engine in the process that asks it, inside its event loop; can be sent to Ray's workers."""


def carried(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what was only for the engine."""
    return {name: value for name, value in row.items() if name not in PROMPT_COLUMNS}


def failed(error: str, failure: str) -> Answer:
    """The answer to a row that got none."""
    counts = {"num_input_tokens": 0, "num_generated_tokens": 0}
    return {"completion": "", "finish_reason": "", **counts, "error": error, "failure": failure}


__all__ = ["DETERMINISTIC", "PROMPT_COLUMNS", "Answer", "Answerer", "EngineSettings", "Opener", "carried", "failed"]
