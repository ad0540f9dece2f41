"""What a set of chats is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from msm_ray.settings_base import Settings, Unit
from msm_ray.worlds import chat_sources


class ChatSettings(Settings):
    """A set of chats: what AFT trains on, or what is mixed in beside it."""

    source: str
    """Where chats come from: made from likings in a YAML file (`preferences`), a `file` of `messages`, or made in the tiny world
    (`tinyworld.preferences`, `tinyworld.endings`, `tinyworld.ordinary`)."""
    count: Annotated[int, Field(gt=0), Unit("chats")] = 5000
    """Chats in the set; of a file the first so many. Paper: 5,129 (cheese), 9,963 (philosophy)."""
    seed: int = 0
    """Draws wordings and things."""
    path: str | None = None
    """The file: likings and wordings as specs/cheese/preferences.yaml, or chats (JSONL or Parquet with `messages`)."""
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
        """Files, and what the worlds make."""
        if source not in (known := (*chat_sources(), "preferences", "file")):
            *others, last = (f"'{name}'" for name in known)
            raise ValueError(f"Input should be {', '.join(others)} or {last}")
        return source
