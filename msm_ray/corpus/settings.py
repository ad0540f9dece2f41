"""What decides packed blocks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from msm_ray.settings_base import Settings, Unit


class PackingSettings(Settings):
    """What decides the blocks that a training sees, beside their length."""

    mix: Annotated[float, Field(ge=0, lt=1), Unit("share of the tokens")] = 0.0
    """Share of the tokens that comes from `mix_source`. Paper: nothing beside documents; beside AFT's chats 2M tokens to
    5.35M (32B), 16,000 rows to 5,129 (8B)."""
    trained_on: Literal["assistant", "last_assistant", "all"] = "assistant"
    """Tokens of a chat that are trained on: every answer, the last answer, or everything. Paper: not stated."""


class BlockSettings(PackingSettings):
    """The blocks that a training sees: their length, and what is packed into them."""

    sequence_length: int
    """Length of a block, in tokens."""
