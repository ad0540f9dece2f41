"""A model's reply as reasoning and answer: the one place that knows how reasoning is written. Plain Python.

A reasoning model writes `<think>...</think>` and then its answer; where the chat template opens the block in the prompt, the
reply begins inside of it. Judges, tables and training look at the answer; reasoning is kept beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OPENS = re.compile(r"\s*(?:<(?:think|thinking|thought|seed:think)>|\[THINK\])", re.IGNORECASE)
TAGS = ("<think>", "</think>")
"""What a block is written with; some tokenizers have tokens of their own for it."""
CLOSES = re.compile(r"</(?:think|thinking|thought|seed:think)>|\[/THINK\]", re.IGNORECASE)
"""As Qwen, DeepSeek and Claude write it; Gemma (`thought`), Seed, and Mistral in brackets."""


@dataclass(frozen=True)
class Reply:
    """reasoning and answer, without the tags; cut_off: the reply ended while it still reasoned, so there is no answer."""

    reasoning: str
    answer: str
    cut_off: bool = False


def split_reasoning(text: str, *, opened: bool = False) -> Reply:
    """Take a reply apart. opened: the prompt ended inside a block, so that a reply without a closing tag is all reasoning.

    A tag counts only where a block can stand: at the beginning. An answer without reasoning comes back as it is.
    """
    thoughts: list[str] = []
    while (start := OPENS.match(text)) or opened or (not thoughts and CLOSES.search(text)):
        rest = text[start.end() :] if start else text
        end = CLOSES.search(rest)
        if end is None:
            return Reply("\n\n".join([*thoughts, rest.strip()]), "", cut_off=True)
        thoughts.append(rest[: end.start()].strip())
        text, opened = rest[end.end() :].lstrip(), False
    return Reply("\n\n".join(thought for thought in thoughts if thought), text)


def join_reasoning(reasoning: str, answer: str) -> str:
    """The plain text of a reply that reasoned: what a template without a form of its own is given."""
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{answer}" if reasoning.strip() else answer
