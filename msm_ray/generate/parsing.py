"""What comes back from a writer: the document in it, or the reason why there is none."""

from __future__ import annotations

import re

from msm_ray.reasoning import split_reasoning
from msm_ray.worlds import World

CUT_OFF = frozenset({"length", "max_tokens", "MAX_TOKENS"})
STOPPED_BY_FILTER = frozenset({"content_filter", "refusal", "SAFETY"})
"""Finish reasons by other vendors' words."""
THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
REFUSAL = re.compile(
    r"^\W*(i['’]?m sorry|i am sorry|sorry,|i (can['’]?t|cannot|can not|won['’]?t|will not|am unable to|['’]m unable to)"
    r" (help|assist|write|comply|do|create|produce|fulfil|provide|continue)|as an ai\b|i must decline)",
    re.IGNORECASE,
)


def parse_document(completion: str, finish_reason: str, world: World, bare: bool) -> tuple[str | None, str]:
    """(document, "") or (None, reason). Reasons: truncated, filtered, empty, refused, unparsable.

    bare: recorded and offline documents may come without what the world's prompt asks to be put around them.
    """
    if finish_reason in CUT_OFF:
        return None, "truncated"
    if finish_reason in STOPPED_BY_FILTER:
        return None, "filtered"
    reply = split_reasoning(completion)
    if reply.cut_off:
        return None, "truncated"
    said = THINKING.sub("", reply.answer).strip()
    if not said:
        return None, "empty"
    text, reason = world.read_answer(said, bare)
    if text == "":
        return None, "empty"
    return (None, "refused") if REFUSAL.match(said if text is None else text) else (text, reason)
