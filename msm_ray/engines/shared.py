"""An object that many workers ask, as a Ray actor that is asked as the object itself would be."""

from __future__ import annotations

import asyncio
from typing import Any

AT_ONCE = 60_000
"""Calls that such an object has at the same time; most of them only wait."""


class Shared:
    """`await shared.method(...)` calls the method of an object in a process of its own. All its methods are coroutines.

    A call that nobody waits for any more is cancelled there too: else it would take, later, what nobody gives back.
    """

    def __init__(self, actor: Any):
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)  # pickle asks for some before there is an actor
        method = getattr(self._actor, name)
        return lambda *arguments: _awaited(method.remote(*arguments))


async def _awaited(asked: Any) -> Any:
    import ray

    try:
        return await asked
    except asyncio.CancelledError:
        ray.cancel(asked)
        raise


def share(kind: type, *arguments: Any) -> Shared:
    """An object of a class, in an actor on this node, whose files it may write; it ends with the last who holds it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(kind)
    return Shared(actor.options(num_cpus=0, max_concurrency=AT_ONCE, scheduling_strategy=here).remote(*arguments))
