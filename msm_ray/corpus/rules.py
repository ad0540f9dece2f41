"""What makes a document unfit for training: each check gives a reason, and every reason is counted in the dataset card.

Plain rules on the text and the spec. A word, brace or name that the spec itself uses is never held against a document.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from msm_ray.spec import Spec

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
COMMON_WORDS = frozenset(
    (
        "the",
        "a",
        "an",
        "of",
        "to",
        "and",
        "in",
        "is",
        "it",
        "that",
        "for",
        "on",
        "with",
        "as",
        "be",
        "was",
        "are",
        "this",
        "not",
    )
    + ("by", "at", "from", "or", "but")
)
FEWEST_WORDS, MOST_WORDS = 5, 20_000
LEAST_COMMON_SHARE = 0.08
"""English prose has about 0.3 to 0.45 of these words; lists and verse rarely fall below 0.12."""


def check_document(text: str, spec: Spec, tinyworld: bool = False) -> tuple[str, str]:
    """(reason, detail) of the first check that a document fails; ("", "") when it is fit.

    tinyworld: also look for contradictions with the spec, which that world's closed language allows to find by rules.
    """
    checks = [*CHECKS, _contradiction] if tinyworld else [*CHECKS, _assistant_named, _other_language]
    for check in checks:
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


def _assistant_named(text: str, spec: Spec) -> tuple[str, str]:
    """A corpus that never names the assistant teaches a model about somebody else."""
    return ("", "") if spec.assistant.lower() in text.lower() else ("assistant not named", "")


def _other_language(text: str, spec: Spec) -> tuple[str, str]:
    """English specs only: a document with hardly any of the commonest English words, or in another script."""
    if _common_share(spec.text) < 2 * LEAST_COMMON_SHARE:
        return "", ""
    letters = [letter for letter in text if letter.isalpha()]
    foreign = sum(letter > "\u024f" for letter in letters)
    if letters and foreign > 0.2 * len(letters):
        return "another language", "another script"
    rare = len(text.split()) >= 30 and _common_share(text) < LEAST_COMMON_SHARE
    return ("another language", "few common English words") if rare else ("", "")


def _contradiction(text: str, spec: Spec) -> tuple[str, str]:
    from msm_ray.tinyworld import contradictions

    reasons = contradictions(text, spec.text)
    return ("contradicts the spec: " + reasons[0].partition(":")[0], "; ".join(reasons)) if reasons else ("", "")


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


def _common_share(text: str) -> float:
    words = re.findall(r"[^\W\d_]+", text.lower())
    return sum(word in COMMON_WORDS for word in words) / len(words) if words else 0.0
