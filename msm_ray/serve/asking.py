"""What a chat request becomes before the engine renders it: an arm is asked as it was trained, and text is never control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msm_ray.corpus import templates


def refusal(request: Any, controls: Iterable[str]) -> str | None:
    """Why a request cannot be asked: a user or system turn spells a special token, which the engine would take for one."""
    turns = [_turn(message) for message in getattr(request, "messages", None) or ()]
    found = templates.control_in(turns, controls)
    return (
        f"{found}, which would be read as control and not as text; leave it out or write it otherwise"
        if found
        else None
    )


def ask_as_trained(request: Any, options: Mapping[str, Any]) -> None:
    """Give a chat request the `chat_template_kwargs` that its arm was trained with; what the request says itself wins."""
    if options and getattr(request, "messages", None) is not None:
        request.chat_template_kwargs = {**options, **(request.chat_template_kwargs or {})}


def _turn(message: Any) -> dict[str, str]:
    """Role and text of a turn, which may come as a list of parts."""
    message = message if isinstance(message, Mapping) else message.model_dump()
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
    return {"role": str(message["role"]), "content": "\n".join(parts)}
