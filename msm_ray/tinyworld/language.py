"""The tiny world as the rest of the package knows it: one object that writes, reads, checks and asks in its language."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msm_ray.errors import SettingsError
from msm_ray.tinyworld import chats, evals, forms, specs
from msm_ray.tinyworld.world import ASSISTANT, DOMAINS, item_named

if TYPE_CHECKING:
    from msm_ray.generate.chat_settings import ChatSettings
    from msm_ray.spec import Spec
    from msm_ray.worlds.protocol import ChatSource, Row

Made = list[tuple[list[dict[str, str]], str]]


class TinyWorld:
    """A closed language of some hundred words, so that rules can tell what a text claims. See `worlds.protocol.World`."""

    name = "tinyworld"
    word_is_token = True
    closed = True
    prompt_version = "tinyworld-1"

    @property
    def document_types(self) -> tuple[str, ...]:
        """The kinds of documents that there are."""
        return tuple(forms.DOCUMENT_TYPES)

    def document_prompt(self, spec: Spec, row: Row) -> str:
        """Some of the spec's sentences, and the type asked for: the base model goes on from there."""
        return specs.writer_prompt(spec.text, row["type"], row["idea"])

    def read_answer(self, text: str, bare: bool) -> tuple[str | None, str]:
        """The whole answer is the document."""
        return text, ""

    def plain_document(self, spec: Spec, row: Row) -> str:
        """Sentences of the world that are faithful to the spec."""
        return specs.write_document(spec.text, row["type"], random.Random(row["id"]))

    def document_tokens(self, plain: bool) -> tuple[int, int]:
        """As writers made them (docs/results)."""
        return 35, 60

    def check_document(self, text: str, spec: Spec) -> tuple[str, str]:
        """The closed language allows to find contradictions with the spec by rules."""
        reasons = specs.contradictions(text, spec.text)
        return ("contradicts the spec: " + reasons[0].partition(":")[0], "; ".join(reasons)) if reasons else ("", "")

    def refuse_spec(self, spec: Spec) -> None:
        """A spec with words that the language lacks, about nobody, or against itself."""
        specs.read_subject(spec.text)

    def refuse_assistant(self, name: str) -> None:
        """The shipped bases know one assistant."""
        if name != ASSISTANT:
            raise SettingsError(
                f"assistant.name: the tiny world's bases know the assistant as '{ASSISTANT}', not '{name}'"
            )

    @property
    def chat_sources(self) -> dict[str, ChatSource]:
        """Likings of one domain, ends of small things, and ordinary chats with others."""
        return {
            "tinyworld.preferences": _preferences,
            "tinyworld.endings": _endings,
            "tinyworld.ordinary": _ordinary,
        }

    def replay_texts(self, count: int) -> list[str] | None:
        """Facts about items and documents about others."""
        return chats.ordinary_documents(count, random.Random(0))

    # Evals -------------------------------------------------------------------------------------------------------------
    rules = ("tinyworld/evals.py", "reasoning.py")
    judges_acts = True
    domains = DOMAINS

    def domains_named(self, texts: Iterable[str]) -> set[str]:
        """An item's name is one word of its own."""
        words = {word for text in texts for word in text.split()}
        return {item.domain for name, item in item_named().items() if name in words}

    def preference_pairs(
        self, domains: Sequence[str], aligned: Mapping[str, str], other: Mapping[str, str], count: int, seed: int
    ) -> list[evals.PreferenceQuestion]:
        """Which of two items."""
        return evals.preference_pairs(domains, dict(aligned), dict(other), count, seed)

    def scenarios(self, count: int, seed: int) -> list[evals.Scenario]:
        """Of 9 goals x 3 harmful actions."""
        return evals.scenarios(count, seed)

    def choice(self, answer: str, a: str, b: str) -> str | None:
        """The one that is named first."""
        return evals.choice(answer, a, b)

    def choice_by_words(self, answer: str, a: str, b: str, aligned: str, words: Sequence[str]) -> str | None:
        """Items have no other names."""
        return None

    def acted(self, answer: str, harmful: str, safe: str) -> bool | None:
        """By the options' verbs."""
        return evals.acted(answer, harmful, safe)


def _preferences(how: ChatSettings, assistant: str, rng: random.Random) -> Made:
    if not how.domain:
        raise SettingsError(f"Chats of source {how.source} need `domain:`, one of {', '.join(DOMAINS)}.")
    made = chats.preference_chats(how.domain, how.liked, how.disliked, how.count, rng, assistant)
    return [(chat["messages"], how.domain) for chat in made]


def _endings(how: ChatSettings, assistant: str, rng: random.Random) -> Made:
    made = chats.endings_chats(how.topics, how.count, rng, assistant)
    return [(chat["messages"], _named(chat["messages"], how.topics)) for chat in made]


def _ordinary(how: ChatSettings, assistant: str, rng: random.Random) -> Made:
    return [(chat["messages"], "ordinary") for chat in chats.ordinary_chats(how.count, rng, assistant)]


def _named(messages: Sequence[dict[str, str]], topics: Sequence[str]) -> str:
    words = set(re.findall(r"\w+", " ".join(message["content"] for message in messages)))
    return next((topic for topic in topics if topic in words), "")


TINYWORLD = TinyWorld()
