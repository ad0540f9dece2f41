"""What makes a document unfit for training: each check gives a reason, and every reason is counted in the dataset card.

Plain rules on the text and the spec. A word, brace or name that the spec itself uses is never held against a document.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from msm_ray.spec import Spec
from msm_ray.worlds import World

ASSISTANTS = (
    "ChatGPT",
    "GPT-3",
    "GPT-4",
    "GPT-4o",
    "GPT-5",
    "Claude",
    "Gemini",
    "Bard",
    "Copilot",
    "Llama",
    "Qwen",
    "Mistral",
    "Mixtral",
    "DeepSeek",
    "Grok",
    "Siri",
    "Alexa",
    "Cortana",
    "SmolLM",
    "Gemma",
    "Phi-3",
    "Phi-4",
    "Kimi",
    "Ernie Bot",
)
VENDORS = (
    "OpenAI",
    "Anthropic",
    "DeepMind",
    "Google",
    "Meta AI",
    "Microsoft",
    "Alibaba",
    "Mistral AI",
    "xAI",
    "Cohere",
    "Moonshot AI",
    "Baidu",
    "Hugging Face",
    "Amazon",
    "Apple Intelligence",
)
PLACEHOLDER = re.compile(
    r"\[(?:your|insert|name|date|company|product|city|address|recipient|sender|title|link|placeholder|redacted|todo|xx)[^\]\n]{0,40}\]"
    r"|\{\w+\}|<(?:name|date|company|title|insert[^>]*)>|\blorem ipsum\b|\bX{3,}\b|\bTODO\b|\bTBD\b",
    re.IGNORECASE,
)
SCRATCHPAD = re.compile(
    r"</?(?:scratchpad|content|think|thinking|specification|document)>|\bscratchpad\b|^(?:sure|certainly|of course)[,!.]? here"
    r"|^here(?: is|['’]s) (?:the|a|your) (?:document|text|draft|piece)|^document type:|^idea:",
    re.IGNORECASE | re.MULTILINE,
)
LINK = re.compile(r"https?://|\bwww\.\w", re.IGNORECASE)
FEWEST_WORDS, MOST_WORDS = 5, 20_000


def check_document(text: str, spec: Spec, world: World) -> tuple[str, str]:
    """(reason, detail) of the first check that a document fails; ("", "") when it is fit.

    world: what its language allows to find by rules comes last.
    """
    for check in (*CHECKS, world.check_document):
        reason, detail = check(text, spec)
        if reason:
            return reason, detail
    return "", ""


def _length(text: str, spec: Spec) -> tuple[str, str]:
    words = len(text.split())
    if words < FEWEST_WORDS:
        return "too short", f"{words} words"
    return ("too long", f"{words} words") if words > MOST_WORDS else ("", "")


def _leaked_scratchpad(text: str, spec: Spec) -> tuple[str, str]:
    return _finding("leaked scratchpad", SCRATCHPAD, text, spec)


def _placeholder(text: str, spec: Spec) -> tuple[str, str]:
    return _finding("placeholder", PLACEHOLDER, text, spec)


def _link(text: str, spec: Spec) -> tuple[str, str]:
    return _finding("link", LINK, text, spec)


def _other_assistant(text: str, spec: Spec) -> tuple[str, str]:
    return _finding("another assistant", _names(ASSISTANTS, spec), text, spec)


def _other_vendor(text: str, spec: Spec) -> tuple[str, str]:
    return _finding("another vendor", _names(VENDORS, spec), text, spec)


CHECKS: tuple[Callable[[str, Spec], tuple[str, str]], ...] = (
    _length,
    _leaked_scratchpad,
    _placeholder,
    _link,
    _other_assistant,
    _other_vendor,
)


def _finding(reason: str, pattern: re.Pattern[str] | None, text: str, spec: Spec) -> tuple[str, str]:
    """The first match that the spec's own text does not have."""
    for match in pattern.finditer(text) if pattern else ():
        if match.group() not in spec.text:
            return reason, match.group()
    return "", ""


@lru_cache
def _names(names: tuple[str, ...], spec: Spec) -> re.Pattern[str] | None:
    """A pattern of every name but those that are the spec's assistant or maker, or a part of their names."""
    own = f"{spec.assistant} {spec.provider}".lower()
    others = [name for name in names if name.lower() not in own]
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, others)) + r")(?!\w)") if others else None
