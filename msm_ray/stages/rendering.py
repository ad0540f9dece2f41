"""How an arm's chats are rendered: in training and asking alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_ray.corpus import templates


def chat_options(base: Path, shared: Mapping[str, Any], thinking: bool | None) -> dict[str, Any]:
    """What an arm's chats are rendered with, in training and asking alike. base: its model folder."""
    chat = templates.read_format(base)
    return templates.chat_options(chat.text if chat else "", shared, thinking)
