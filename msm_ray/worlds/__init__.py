"""Worlds by name: the languages that an experiment can be in. Nothing else in the package imports one of them.

A world of your own is an object in a module of yours, and its name in an experiment file is `package.module:OBJECT`.
"""

from __future__ import annotations

from msm_ray.own_objects import is_own, own_object
from msm_ray.tinyworld.language import TINYWORLD
from msm_ray.worlds.plain import PLAIN
from msm_ray.worlds.protocol import ChatSource, World

_WORLDS: dict[str, World] = {each.name: each for each in (PLAIN, TINYWORLD)}


def world(name: str) -> World:
    """The world that is called so. Raises ValueError where there is none."""
    if name in _WORLDS:
        return _WORLDS[name]
    if not is_own(name):
        raise ValueError(f"there are {' and '.join(_WORLDS)}, and package.module:OBJECT of your own")
    return own_object(name)


def is_world(name: str | None) -> bool:
    """Whether this names a world, and not a file."""
    return name in _WORLDS or is_own(name)


def has_texts(source: str | None) -> bool:
    """Whether this is a world that makes ordinary texts to replay, and not a file of them."""
    return source is not None and is_world(source) and world(source).replay_texts(0) is not None


def chat_sources() -> dict[str, ChatSource]:
    """The sources of chats that some world makes itself."""
    return {source: make for each in _WORLDS.values() for source, make in each.chat_sources.items()}


__all__ = ["ChatSource", "World", "chat_sources", "has_texts", "is_world", "world"]
