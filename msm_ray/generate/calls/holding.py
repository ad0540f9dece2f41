"""Holding conversations: many at once, step by step, until each has its result.

What is asked in one step by all of them goes to `Answering` together, so that one start of an engine serves all. Conversations
don't see each other: one that fails ends alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_ray.errors import MsmError, OutOfMeans, StageError, no_room
from msm_ray.generate.calls import Asked, Conversation

Answering = Callable[[Mapping[str, Sequence[Asked]]], Mapping[str, Sequence[Any] | MsmError]]
"""What each conversation asks in this step -> the values of its answers in order (None: unusable), or why it can't go on."""


def _told(key: str, result: Any, on_result: Callable[[str, Any], None]) -> Any:
    """The result that was told, or why it could not be: another conversation's must not be lost for that."""
    try:
        on_result(key, result)
    except Exception as error:
        return _failed(error)
    return result


def _failed(error: Exception) -> MsmError:
    """Why a conversation has no result. Raises again what no other would survive: means that are spent, a full disk."""
    if isinstance(error, OutOfMeans) or no_room(error):
        raise error
    if isinstance(error, MsmError):
        return error
    traceback.print_exception(error)
    return StageError(f"not foreseen, please report it: {type(error).__name__}: {error}")


def hold(
    conversations: Mapping[str, Conversation[Any]],
    answering: Answering,
    on_result: Callable[[str, Any], None] = lambda key, result: None,
) -> dict[str, Any]:
    """The result of each conversation, or the MsmError that says why it has none. on_result: told of each as soon as it is there.

    An error that a conversation raises itself (a quality gate) is its result. What `answering` raises ends all.
    """
    results: dict[str, Any] = {}
    sent: dict[str, Sequence[Any] | None] = dict.fromkeys(conversations)
    while sent:
        asked: dict[str, Sequence[Asked]] = {}
        for key, values in sent.items():
            conversation = conversations[key]
            try:
                asked[key] = next(conversation) if values is None else conversation.send(values)
            except StopIteration as end:
                results[key] = _told(key, end.value, on_result)
            except Exception as error:
                results[key] = _failed(error)
        sent = {}
        for key, answers in answering(asked).items() if asked else ():
            if isinstance(answers, MsmError):
                conversations[key].close()
                results[key] = answers
            else:
                sent[key] = answers
    return results
