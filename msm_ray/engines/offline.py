"""No model: the answer to a prompt comes with its row, composed by whoever wrote the prompt, from what they know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msm_ray.engines import carried
from msm_ray.failures import LOST, REFUSED

ANSWER = "plain_answer"


def composed(compose: Callable[[], str]) -> dict[str, str]:
    """The columns that a row needs for this engine: the answer that `compose` gives, or how it failed to."""
    try:
        return {ANSWER: compose(), "error": "", "failure": ""}
    except (OSError, MemoryError) as problem:  # this machine's trouble: the next run composes it
        return {ANSWER: "", "error": f"{type(problem).__name__}: {problem}", "failure": LOST}
    except Exception as problem:  # one row's trouble is that row's alone: it becomes a rejected row with this reason
        return {ANSWER: "", "error": f"{type(problem).__name__}: {problem}", "failure": REFUSED}


def composed_answer(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the answer that came with it as its completion."""
    kept = carried(row)
    told = {"completion": kept.pop(ANSWER), "finish_reason": "stop", "num_input_tokens": 0, "num_generated_tokens": 0}
    return kept | told
