"""Holding conversations: many at once, step by step, until each has its result.

What is asked in one step by all of them goes to `Answering` together, so that one start of an engine serves all. Conversations
don't see each other: one that fails ends alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_ray.errors import MsmError
from msm_ray.generate.calls import Asked, Conversation

Answering = Callable[[Mapping[str, Sequence[Asked]]], Mapping[str, Sequence[Any] | MsmError]]
"""What each conversation asks in this step -> the values of its answers in order (None: unusable), or why it can't go on."""


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
                results[key] = end.value
                on_result(key, end.value)
            except MsmError as error:
                results[key] = error
        sent = {}
        for key, answers in answering(asked).items() if asked else ():
            if isinstance(answers, MsmError):
                conversations[key].close()
                results[key] = answers
            else:
                sent[key] = answers
    return results
