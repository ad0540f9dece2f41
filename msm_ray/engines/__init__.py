"""Who answers a prompt. Every engine has one signature: a dataset of prompts becomes a dataset of completions.

Rows come with `id`, `position`, a prompt (`messages`, a list of role and content, for engines that chat; `prompt`, a text to go
on from, for others), `temperature`, `top_p`, `max_tokens`, and columns that are carried along. Where settings say
`structured`, each has a `json_schema` too (a text), which the completion keeps to. For `offline` they have the answer itself
(`offline.composed`) and need no prompt. They leave without these, with `completion`, `finish_reason` ("stop", "length"),
`num_input_tokens`, `num_generated_tokens` (0: not counted), `error` ("" when the row was answered) and `failure`: how it failed
(`failures.REFUSED`, `LOST`, `DOUBTFUL`, `SPENT`), "" when it did not.

`choosing` builds the one that settings name. Nothing here knows what prompts are about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msm_ray.engines.settings import DETERMINISTIC, EngineSettings

if TYPE_CHECKING:
    from ray.data import Dataset

Engine = Callable[["Dataset"], "Dataset"]

PROMPT_COLUMNS = frozenset({"messages", "prompt", "json_schema", "temperature", "top_p", "max_tokens"})
"""Columns that end in an engine; all others are carried along."""


def carried(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what was only for the engine."""
    return {name: value for name, value in row.items() if name not in PROMPT_COLUMNS}


__all__ = ["DETERMINISTIC", "PROMPT_COLUMNS", "Engine", "EngineSettings", "carried"]
