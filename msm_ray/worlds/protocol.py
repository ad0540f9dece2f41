"""What a world is: the language that documents, chats and evals are in, and what its rules know of it.

A world is one object with these attributes. Plain English is one (`plain.py`), the tiny world another (`tinyworld/`); `world()`
in this package's `__init__` is the only place that knows them all. An object needs no base class: it has to have the parts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from msm_ray.generate.chat_settings import ChatSettings
    from msm_ray.spec import Spec

Row = Mapping[str, Any]
ChatSource = Callable[["ChatSettings", str, random.Random], list[tuple[list[dict[str, str]], str]]]
"""Makes the chats of a set, as (messages, topic), from its settings, the assistant's name and a seeded generator."""


class Pair(Protocol):
    """Two things in one order. aligned: which of `a` and `b` ("a" or "b") the value asked about would choose."""

    @property
    def question(self) -> str:
        """As it is asked."""

    @property
    def a(self) -> str:
        """The thing that is named first."""

    @property
    def b(self) -> str:
        """The thing that is named last."""

    @property
    def aligned(self) -> str:
        """Which of the two: a or b."""

    @property
    def domain(self) -> str:
        """What both are of."""

    @property
    def order(self) -> str:
        """In words."""


class Scene(Protocol):
    """A scenario. condition: "goal/action"; harmful and safe: the options as the user words them."""

    @property
    def question(self) -> str:
        """As it is asked."""

    @property
    def goal(self) -> str:
        """What the agent was told to want."""

    @property
    def action(self) -> str:
        """What harm it could do."""

    @property
    def harmful(self) -> str:
        """That option."""

    @property
    def safe(self) -> str:
        """The other."""

    @property
    def condition(self) -> str:
        """Goal and action."""


class World(Protocol):
    """A language to write, chat and ask in."""

    @property
    def name(self) -> str:
        """As an experiment file says it."""

    @property
    def word_is_token(self) -> bool:
        """Whether this world's bases have a token a word."""

    @property
    def closed(self) -> bool:
        """Whether its language is so small that honest documents share most of their words: nothing is told by that then."""

    # Documents ---------------------------------------------------------------------------------------------------------
    @property
    def document_types(self) -> tuple[str, ...]:
        """Kinds of documents, in the order in which an outline takes them."""

    @property
    def prompt_version(self) -> str:
        """Names the wording of the writer's prompt: part of every document's id, so that other wording makes other rows."""

    def document_prompt(self, spec: Spec, row: Row) -> str:
        """What the writer of a document is sent.

        row: `type`, `domain`, `subdomain`, `idea`, `assertion`; from outlines by models also `description` of the type and
        `assertions` with their explanations; `section` where it stands in for the whole spec; `names_to_avoid`.
        """

    def read_answer(self, text: str, bare: bool) -> tuple[str | None, str]:
        """(document, "") from a writer's answer that is whole and not empty, or (None, reason).

        bare: the answer may be the document alone, without what the prompt asks to be put around it.
        """

    def plain_document(self, spec: Spec, row: Row) -> str:
        """A document without a model, from the spec's own sentences. row: also `id`, `assertion` and `angle`.

        Raises SettingsError where the spec gives none.
        """

    def document_tokens(self, plain: bool) -> tuple[int, int]:
        """Least and most tokens that documents of writers are likely to have, or plain ones."""

    def check_document(self, text: str, spec: Spec) -> tuple[str, str]:
        """(reason, detail) why a document does not fit this world or the spec; ("", "") when it does."""

    def refuse_spec(self, spec: Spec) -> None:
        """Raise SettingsError where the spec says what this world has no words for."""

    def refuse_assistant(self, name: str) -> None:
        """Raise SettingsError where this world knows no assistant of that name."""

    # Chats and base text -----------------------------------------------------------------------------------------------
    @property
    def chat_sources(self) -> Mapping[str, ChatSource]:
        """Sources of chats that this world makes itself, by the name that `source:` has in an experiment file."""

    def replay_texts(self, count: int) -> list[str] | None:
        """`count` ordinary texts to replay in midtraining, none of which names the assistant; None where it has none."""

    # Evals -------------------------------------------------------------------------------------------------------------
    @property
    def rules(self) -> tuple[str, ...]:
        """Files of the package whose code decides what this world's rules say of an answer: part of what verdicts are."""

    @property
    def judges_acts(self) -> bool:
        """Whether rules can tell if an answer decides to act; a model has to judge otherwise."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Of the things that it can make pairs of; none where pairs come from a file."""

    def domains_named(self, texts: Iterable[str]) -> set[str]:
        """The domains whose things stand in the texts."""

    def preference_pairs(
        self, domains: Sequence[str], aligned: Mapping[str, str], other: Mapping[str, str], count: int, seed: int
    ) -> Sequence[Pair]:
        """`count` pairs of things (axis -> value of the two), each asked in both orders, drawn by `seed`."""

    def scenarios(self, count: int, seed: int) -> Sequence[Scene]:
        """`count` scenarios of each condition, drawn by `seed`; none where they come from a file."""

    def choice(self, answer: str, a: str, b: str) -> str | None:
        """Which of two things an answer chooses, "a" or "b"; None where it chooses neither or both."""

    def choice_by_words(self, answer: str, a: str, b: str, aligned: str, words: Sequence[str]) -> str | None:
        """`aligned` ("a" or "b") where an answer names neither thing, but says one of the words for that one; None otherwise."""

    def acted(self, answer: str, harmful: str, safe: str) -> bool | None:
        """Whether an answer takes the harmful option (True) or the safe one (False); None where no rule can tell."""
