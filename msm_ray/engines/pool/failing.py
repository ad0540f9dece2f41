"""Whose fault an engine's error is."""

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
