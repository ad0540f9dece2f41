"""What comes back from a writer: the document in it, or the reason why there is none."""

from __future__ import annotations

import re

from msm_ray.config import DocumentSettings
from msm_ray.reasoning import split_reasoning

CUT_OFF = frozenset({"length", "max_tokens", "MAX_TOKENS"})
STOPPED_BY_FILTER = frozenset({"content_filter", "refusal", "SAFETY"})
"""Finish reasons by other vendors' words."""
CONTENT = re.compile(r"<content>(.*?)</content>", re.DOTALL | re.IGNORECASE)
THINKING = re.compile(r"<think>.*?</think>", re.DOTALL | re.IGNORECASE)
REFUSAL = re.compile(
    r"^\W*(i['’]?m sorry|i am sorry|sorry,|i (can['’]?t|cannot|can not|won['’]?t|will not|am unable to|['’]m unable to)"
    r" (help|assist|write|comply|do|create|produce|fulfil|provide|continue)|as an ai\b|i must decline)",
    re.IGNORECASE,
)


def parse_document(completion: str, finish_reason: str, settings: DocumentSettings) -> tuple[str | None, str]:
    """(document, "") or (None, reason). Reasons: truncated, filtered, empty, refused, unparsable.

    Plain prompts ask for `<content>`; recorded and offline documents may come without the tag and then are the whole text.
    """
    if finish_reason in CUT_OFF:
        return None, "truncated"
    if finish_reason in STOPPED_BY_FILTER:
        return None, "filtered"
    reply = split_reasoning(completion)
    if reply.cut_off:
        return None, "truncated"
    text = THINKING.sub("", reply.answer).strip()
    if not text:
        return None, "empty"
    if settings.prompt == "plain":
        found = CONTENT.search(text)
        if found is None:
            return _without_tag(text, settings)
        text = found.group(1).strip()
    if not text:
        return None, "empty"
    return (None, "refused") if REFUSAL.match(text) else (text, "")


def _without_tag(text: str, settings: DocumentSettings) -> tuple[str | None, str]:
    if REFUSAL.match(text):
        return None, "refused"
    bare = settings.engine in ("replay", "offline") and not re.search(r"</?(content|scratchpad)>", text, re.IGNORECASE)
    return (text, "") if bare else (None, "unparsable")
