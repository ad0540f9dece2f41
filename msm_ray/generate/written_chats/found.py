"""Chats by a writer as they come about: places, questions, chats, and all that was found in the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msm_ray.reasoning import join_reasoning

NO_USABLE_ANSWER = "no usable answer"
"""No answer to a request could be used in all its tries; why, stands with the answers that it got."""


@dataclass(frozen=True)
class Domain:
    """What a part of the chats is about: a domain of conversation, a thing that is liked or not, a subject."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class Question:
    """What a person writes. request: id of the request that brought it; reply: where it came with its answer."""

    text: str
    kind: str
    domain: Domain
    request: str
    reply: str = ""


@dataclass(frozen=True)
class WrittenChat:
    """A question and what came of it. reason: why it is not kept; "" where it is.

    request: id of the request for the answer, or for the question where there is none; votes: judgements that could be read;
    votes_for: those that include the chat.
    """

    question: Question
    request: str
    thinking: str = ""
    reply: str = ""
    votes: int = 0
    votes_for: int = 0
    reason: str = ""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat as it is trained on, the thinking before the reply; the spec that the writer saw is not in it."""
        turns = [{"role": "user", "content": self.question.text}]
        if self.reply:
            turns.append({"role": "assistant", "content": join_reasoning(self.thinking, self.reply)})
        return turns


@dataclass(frozen=True)
class ChatsFound:
    """kept and rejected, in the order in which they were written; counts: what else is told; missing: fewer than asked for."""

    kept: tuple[WrittenChat, ...]
    rejected: tuple[WrittenChat, ...]
    domains: tuple[Domain, ...]
    missing: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        """Why chats were left out, without what goes into detail -> how many."""
        return dict(Counter(each.reason.partition(":")[0] for each in self.rejected).most_common())


def key_of(text: str) -> str:
    """What two texts have in common that say the same word for word: their words, without case and marks."""
    return " ".join(re.findall(r"\w+", text.casefold()))
