"""Whose fault an engine's error is, and what is worth telling of it."""

from __future__ import annotations

import re

from msm_ray.failures import LOST, REFUSED

ERROR_LINE = re.compile(r"\w*(Error|Exception): ")
ROWS_OWN = re.compile(
    r"^(ValueError|VLLM\w*(Validation|Client)\w*)\b|max(imum|_)(model|context)[ _]len|longer than the maximum|too long",
    re.I,
)


def failure_of(error: str) -> str:
    """A prompt that vLLM cannot take is refused, all else is the engine's."""
    return "" if not error else REFUSED if ROWS_OWN.search(error) else LOST


DIED = "EngineDied: "
RAISED = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception): .*)$", re.MULTILINE)
LONGEST = 400


def told(error: BaseException) -> str:
    """What ended an engine: its own last words where it came to say them, else the innermost error, else Ray's first line.

    Ray tells an actor's death with all its traces, in colors.
    """
    said = re.sub(r"\x1b\[\d+m", "", str(error)).strip()
    if DIED in said:
        return said.partition(DIED)[2]
    raised = RAISED.findall(said)
    first = next(iter(said.splitlines()), type(error).__name__)
    return (raised[-1] if raised else first)[:LONGEST]
