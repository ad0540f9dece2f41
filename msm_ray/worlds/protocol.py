"""What a world is: the language that documents, chats and evals are in, and what its rules know of it.

A world is one object with these attributes. Plain English is one (`plain.py`), the tiny world another (`tinyworld/`); `world()`
in this package's `__init__` is the only place that knows them all. An object needs no base class: it has to have the parts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from msm_ray.config import ChatSettings
    from msm_ray.spec import Spec

Row = Mapping[str, Any]
ChatSource = Callable[["ChatSettings", str, random.Random], list[tuple[list[dict[str, str]], str]]]
"""Makes the chats of a set, as (messages, topic), from its settings, the assistant's name and a seeded generator."""


class World(Protocol):
    """A language to write, chat and ask in."""

    @property
    def name(self) -> str:
        """As an experiment file says it."""

    # Documents ---------------------------------------------------------------------------------------------------------
    @property
    def document_types(self) -> tuple[str, ...]:
        """Kinds of documents, in the order in which an outline takes them."""

    @property
    def prompt_version(self) -> str:
        """Names the wording of the writer's prompt: part of every document's id, so that other wording makes other rows."""

    def document_prompt(self, spec: Spec, row: Row) -> str:
        """What the writer of a document is sent. row: `type`, `domain`, `subdomain`, `idea`."""

    def read_answer(self, text: str, bare: bool) -> tuple[str | None, str]:
        """(document, "") from a writer's answer that is whole and not empty, or (None, reason).

        bare: the answer may be the document alone, without what the prompt asks to be put around it.
        """

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
