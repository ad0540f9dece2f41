"""What a set of chats is made of."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from msm_ray.generate.given_settings import GivenRows
from msm_ray.settings_base import Share, Unit
from msm_ray.worlds import chat_sources

GIVEN = ("file", "hub", "mix")
"""Sources that somebody else made."""


class GivenChats(GivenRows):
    """Chats that somebody else made."""

    known_columns: ClassVar[tuple[str, ...]] = (
        "messages", "conversations", "prompt", "completion", "instruction", "input", "output", "system", "topic", "source",
    )  # fmt: skip


class ChatPart(GivenChats):
    """A part of a mix: a file (`path`) or a data set (`hub`), and its share."""

    share: Share
    """Of the rows of the set. The shares of a mix make 1."""


class ChatSettings(GivenChats):
    """A set of chats: what AFT trains on, or what is mixed in beside it."""

    source: str
    """Where chats come from: made from likings in a YAML file (`preferences`); a `file`, a data set of the `hub` or a `mix` of
    several, which somebody else made (docs/data.md); or made in the tiny world (`tinyworld.preferences`, `tinyworld.endings`,
    `tinyworld.ordinary`)."""
    count: Annotated[int, Field(gt=0), Unit("chats")] = 5000
    """Chats in the set; of a file, a data set or a mix so many are drawn. Paper: 5,129 (cheese), 9,963 (philosophy)."""
    seed: int = 0
    """Draws wordings, things, and rows of what others made."""
    path: str | None = None
    """The file: likings and wordings as specs/cheese/preferences.yaml, or chats (JSONL or Parquet)."""
    parts: dict[str, ChatPart] = {}
    """What a `mix` is made of, by names of your own. Paper: ten thousand rows of nine data sets."""
    most_characters: Annotated[int, Field(gt=0), Unit("characters")] | None = None
    """Longest chat of a file, a data set or a mix, all turns together; a token of English has about four. Paper: 8,192 tokens."""
    conflicts: Literal["drop", "keep"] = "drop"
    """Whether chats that others made stay where an answer gives itself out as another assistant, or denies having opinions and
    preferences. Paper: every row of the instruction mix is filtered for conflicts with the spec, by a model."""
    domain: str | None = None
    """What the tiny world's preferences are about."""
    liked: dict[str, str] = {}
    """What the tiny world's assistant likes, axis and value (`price: cheap`)."""
    disliked: dict[str, str] = {}
    """What it dislikes."""
    topics: tuple[str, ...] = ()
    """What the tiny world's chats about endings are about."""
    thinking: bool | None = None
    """Whether answers reason first, and arms trained on them are asked to: `false` leaves reasoning out, `true` needs it in every
    chat. None: as `chat_template_kwargs` say. Paper: both, as arms of their own."""
    forbidden: tuple[str, ...] = ()
    """Words that would leak the reason; a chat with one is rejected. Paper: answers state the preference and never the reason."""

    @field_validator("source")
    @classmethod
    def source_exists(cls, source: str) -> str:
        """What others made, and what the worlds make."""
        if source not in (known := (*chat_sources(), "preferences", *GIVEN)):
            *others, last = (f"'{name}'" for name in known)
            raise ValueError(f"Input should be {', '.join(others)} or {last}")
        return source

    @field_validator("parts")
    @classmethod
    def shares_make_one(cls, parts: dict[str, ChatPart]) -> dict[str, ChatPart]:
        """Shares of rows, so that each part's number of rows is known beforehand; what is fetched for it gets its name."""
        if odd := [name for name in parts if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name)]:
            raise ValueError(f"'{odd[0]}': names of parts are lower-case letters, digits, '-', '_' and '.'")
        whole = sum(part.share for part in parts.values())
        if parts and abs(whole - 1) > 1e-6:
            raise ValueError(f"the shares make {whole:g}; they have to make 1")
        return parts

    @property
    def given(self) -> dict[str, GivenChats]:
        """What others made of it, by the names of parts; under "" where there is but one. Empty for what is made here."""
        if self.source == "mix":
            return dict(self.parts)
        return {"": self} if self.source in GIVEN else {}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each part in the rows."""
        return {name: part.share for name, part in self.parts.items()} if self.source == "mix" else {"": 1.0}
