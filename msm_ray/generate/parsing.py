"""What comes back from a writer: the document in it, or the reason why there is none."""

from __future__ import annotations

import re

from msm_ray.generate.refusals import is_refusal
from msm_ray.reasoning import OPENS, split_reasoning
from msm_ray.worlds import World
from msm_ray.worlds.content import without_plan

CUT_OFF = re.compile(
    r"length|(?:error_)?max_(?:output_|new_)?tokens|max_length|model_length|token_limit|error_limit|context_length(?:_exceeded)?|"
    r"model_context_window_exceeded|incomplete|truncated|abort(?:ed)?|cancell?ed|(?:network_)?error|insufficient_system_resource|"
    r"pause_turn"
)
STOPPED_BY_FILTER = re.compile(
    r"content_filter(?:ed)?|refusal|(?:image_)?safety|recitation|blocklist|prohibited_content|spii|guardrail_intervened|sensitive|"
    r"error_toxic|blocked|moderation|language"
)
"""Finish reasons by the words of OpenAI, Anthropic, Google, Mistral, Cohere, Bedrock, DeepSeek, Zhipu and vLLM."""
BEGUN = re.compile(r"\s*<\s*content\b", re.IGNORECASE)


def parse_document(completion: str, finish_reason: str, world: World, bare: bool) -> tuple[str | None, str]:
    """(document, "") or (None, reason). Reasons: truncated, filtered, empty, refused, two documents, unparsable.

    Reasoning is dropped first; the plan and all else that the world's prompt asks for is the world's to read. bare: recorded
    and offline documents may come without what the prompt asks to be put around them.
    """
    if (wrong := ended(finish_reason)) is not None:
        return None, wrong
    said, cut_off = _answer(completion)
    if cut_off:
        return None, "truncated"
    if not said:
        return None, "empty"
    text, reason = world.read_answer(said, bare)
    if text == "":
        return None, "empty"
    if is_refusal(without_plan(said) if text is None else text, whole=text is None):
        return None, "refused"
    return text, reason


def ended(finish_reason: str) -> str | None:
    """`truncated` or `filtered`, by any vendor's finish reason; None where the answer came to its end."""
    how = re.sub(
        r"^(?:finish_?reason|stop_?reason)[_.]", "", re.sub(r"[\s-]+", "_", (finish_reason or "").strip()).lower()
    )
    if CUT_OFF.fullmatch(how):
        return "truncated"
    return "filtered" if STOPPED_BY_FILTER.fullmatch(how) else None


def _answer(completion: str) -> tuple[str, bool]:
    """The answer without reasoning, and whether it ended before there was one."""
    if BEGUN.match(completion) and not OPENS.match(completion):
        return completion.strip(), False  # a document may speak of </think>
    reply = split_reasoning(completion)
    return reply.answer.strip(), reply.cut_off
