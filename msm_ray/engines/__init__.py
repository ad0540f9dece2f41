"""Who answers a prompt. Every engine has one signature: a dataset of prompts becomes a dataset of completions.

Rows come with `id`, `prompt` (one string: a text to continue, or a user message for `chat` engines), `temperature`, `top_p`,
`max_tokens`, `position` and columns that are carried along. They leave without `prompt`, with `completion`, `finish_reason`
("stop", "length"), `num_input_tokens`, `num_generated_tokens` (0: not counted), `error` ("" when the row was answered) and
`failure`: how it failed (`failures.REFUSED`, `LOST`, `DOUBTFUL`, `SPENT`), "" when it did not.

`choosing` builds the one that settings name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.data import Dataset

Engine = Callable[["Dataset"], "Dataset"]

DETERMINISTIC = frozenset({"offline", "replay"})
"""Engines that always answer the same row with the same text, so that trying anew brings nothing."""
