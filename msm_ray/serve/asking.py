"""What a request becomes before the engine sees it, and a reply before its asker does.

An arm is asked as it was trained, text is never control, and who asked for a name is answered under it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from msm_ray.corpus import special_tokens


def refusal(request: Any, controls: Iterable[str]) -> str | None:
    """Why a request cannot be asked: it brings a template, or a turn spells a special token, which the engine would obey."""
    if getattr(request, "chat_template", None) or "chat_template" in (
        getattr(request, "chat_template_kwargs", None) or {}
    ):
        return "a request can't bring a chat template here: each arm is asked with the one that it was trained on"
    turns = [_turn(message) for message in getattr(request, "messages", None) or ()]
    found = special_tokens.control_in(turns, controls)
    return (
        f"{found}, which would be read as control and not as text; leave it out or write it otherwise"
        if found
        else None
    )


def ask_as_trained(request: Any, options: Mapping[str, Any], template: str | None = None) -> None:
    """Give a chat request the `chat_template_kwargs` that its arm was trained with; what the request says itself wins.

    template: the arm's own, where the engine's is another.
    """
    if getattr(request, "messages", None) is None:
        return
    if template:
        request.chat_template = template
    if options:
        request.chat_template_kwargs = {**options, **(request.chat_template_kwargs or {})}


def gave_up(request: Any) -> tuple[HTTPStatus, str]:
    """Status and reason of a request that the engine began and could not end.

    A form (`response_format`, `structured_outputs`) that the vocabulary can't write is what its asker can change: the
    tiny world's models, for one, know words and no braces.
    """
    form = getattr(request, "response_format", None) or getattr(request, "structured_outputs", None)
    if form is None:
        return HTTPStatus.INTERNAL_SERVER_ERROR, "the engine could not end this answer; its log says why"
    return HTTPStatus.BAD_REQUEST, (
        "this model's vocabulary can't write the form that was asked for (response_format or structured_outputs): no token "
        "of it is allowed next. Ask without it, or for a form of the model's own words."
    )


def named(reply: Any, asked: str) -> Any:
    """A reply under the name that was asked for: a whole one, or the chunks of a stream (`data: {...}`)."""
    if isinstance(reply, list):
        return [named(chunk, asked) for chunk in reply]
    if isinstance(reply, str):
        return _named_chunk(reply, asked)
    if getattr(reply, "model", None) is not None:
        reply.model = asked
    return reply


def _named_chunk(chunk: str, asked: str) -> str:
    """One server-sent event; what is no JSON object with a model (`data: [DONE]`) stays as it is."""
    head, mark, body = chunk.partition("data: ")
    try:
        said = json.loads(body)
    except ValueError:
        return chunk
    if not isinstance(said, dict) or "model" not in said:
        return chunk
    return f"{head}{mark}{json.dumps({**said, 'model': asked}, ensure_ascii=False)}\n\n"


def plain_message(message: str) -> str:
    """What went wrong, once: Ray Serve LLM says it up to three times over, with its own words between."""
    said = re.sub(r"^(Message: )+", "", message)
    return re.sub(r" \(Request ID: [^)]*\)", "", said.partition(", Internal exception: ")[0]).strip()


def _turn(message: Any) -> dict[str, str]:
    """Role and text of a turn, which may come as a list of parts."""
    message = message if isinstance(message, Mapping) else message.model_dump()
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
    return {"role": str(message["role"]), "content": "\n".join(parts)}
