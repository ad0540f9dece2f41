"""Worlds by name: the languages that an experiment can be in. Nothing else in the package imports one of them."""

from __future__ import annotations

from msm_ray.tinyworld.language import TINYWORLD
from msm_ray.worlds.plain import PLAIN
from msm_ray.worlds.protocol import ChatSource, World

_WORLDS: dict[str, World] = {each.name: each for each in (PLAIN, TINYWORLD)}
NAMES = tuple(_WORLDS)


def world(name: str) -> World:
    """The world that is called so. Raises KeyError where there is none: experiment files are checked when they are read."""
    return _WORLDS[name]


def has_texts(source: str | None) -> bool:
    """Whether this is a world that makes ordinary texts to replay, and not a file of them."""
    return source in _WORLDS and _WORLDS[source].replay_texts(0) is not None


def chat_sources() -> dict[str, ChatSource]:
    """The sources of chats that some world makes itself."""
    return {source: make for each in _WORLDS.values() for source, make in each.chat_sources.items()}


__all__ = ["NAMES", "ChatSource", "World", "chat_sources", "has_texts", "world"]
