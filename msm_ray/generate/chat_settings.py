"""What a set of chats is made of."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from msm_ray.generate.given_settings import GivenRows
from msm_ray.generate.written_chats.settings import WrittenChats
from msm_ray.settings_base import Share, Unit
from msm_ray.worlds import chat_sources

WRITTEN = "written"
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
    """Where chats come from: `written` by a model; made from likings in a YAML file (`preferences`); a `file`, a data set of the
    `hub` or a `mix` of several, which somebody else made (docs/data.md); or made in the tiny world (`tinyworld.preferences`,
    `tinyworld.endings`, `tinyworld.ordinary`)."""
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
    conflicts_with: str | None = None
    """A spec: beside the rules a judge (`writer.calls.conflicts`) looks at each chat of a file, a data set or a mix, and one that
    conflicts with the spec gives way to another. Paper: every row, by Claude Sonnet 4.6. None: rules alone."""
    spec: str | None = None
    """The spec that `written` chats are about. Of preferences and identity its assistant alone counts."""
    written: WrittenChats | None = None
    """How `written` chats are written."""
    of: str | None = None
    """Another set of `written` chats whose writing this one takes, with other `thinking`, fewer chats or a dose: what is written
    is paid for once."""
    dose_of: str | None = None
    """A set of `written` chats, about an anti-spec say, of which `dose` of this set's chats are taken instead of its own."""
    dose: Share = 0.0
    """Share of the chats that come from `dose_of`. Paper: 2% to 80% anti-spec chats."""
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
        if source not in (known := (*chat_sources(), WRITTEN, "preferences", *GIVEN)):
            *others, last = (f"'{name}'" for name in known)
            raise ValueError(f"Input should be {', '.join(others)} or {last}")
        return source

    @model_validator(mode="after")
    def written_by_somebody(self) -> ChatSettings:
        """Written chats have a spec and a way, or are those of another set; a dose has a source."""
        if self.source == WRITTEN and not self.of and not (self.spec and self.written):
            raise ValueError("source: written needs spec and written (how), or of (another set of written chats)")
        if self.source == WRITTEN and self.of and (self.spec or self.written):
            raise ValueError("of takes another set's writing, so spec and written have no place here")
        if self.source != WRITTEN and (odd := [n for n in ("spec", "written", "of", "dose_of") if getattr(self, n)]):
            raise ValueError(f"{odd[0]} needs source: written")
        if bool(self.dose) != bool(self.dose_of):
            raise ValueError("dose and dose_of go together: a share, and the set that it is taken from")
        if self.conflicts_with and not self.given:
            raise ValueError("conflicts_with is for chats that others made (file, hub, mix)")
        return self

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
