"""Is there room on the Ray that is connected, now or when it has grown? Asked before a stage starts what it pays for."""

from __future__ import annotations

import time
from collections.abc import Iterable

from msm_ray import ray_private
from msm_ray.errors import PreflightError
from msm_ray.placement.asks import Node, Placement, describe, shortfall

PATIENCE_SECONDS = 5
"""A wait that is shorter is not worth a line."""


def check_room(asked: Iterable[Placement], nodes_max: int | None) -> None:
    """Raise PreflightError for what this cluster can never hold, grown as far as it may.

    nodes_max: nodes that the cluster may grow to. Where there are fewer now, what is to come is unknown, and the wait
    before the stage decides (`wait_for_room`).
    """
    there = nodes_there()
    if nodes_max is not None and nodes_max > len(there):
        return
    for one in asked:
        if problem := shortfall(one, [*there, *_nodes_to_come()]):
            raise PreflightError(f"the Ray cluster is too small: {problem}. {_remedy(one)}")


def wait_for_room(asked: Placement) -> None:
    """Return when the cluster has room for all of it at once, which makes an autoscaler add nodes.

    The room is taken for a moment and given back: the stage takes it for good right after. Raises PreflightError after
    `asked.minutes` with what is asked, what is there and what of it is taken.
    """
    from ray.util import placement_group, remove_placement_group

    groups = [placement_group(list(asked.bundles), strategy="STRICT_PACK") for _ in range(asked.count)]
    if asked.beside:
        groups.append(placement_group(list(asked.beside), strategy="PACK"))
    began, told = time.monotonic(), False
    try:
        for group in groups:
            while not group.wait(timeout_seconds=1):
                waited = time.monotonic() - began
                if waited > asked.minutes * 60:
                    raise PreflightError(no_room(asked))
                if waited > PATIENCE_SECONDS and not told:
                    print(
                        f"waiting up to {asked.minutes:g} minutes for room: {asked.stage} asks for {asked}", flush=True
                    )
                    told = True
    finally:
        for group in groups:
            remove_placement_group(group)


def nodes_there() -> list[Node]:
    """The nodes of the connected Ray."""
    import ray

    return [Node(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _nodes_to_come() -> list[Node]:
    """Kinds of nodes that an autoscaler may add, where the cluster's own configuration is known to Ray."""
    config = ray_private.cluster_config()
    if config is None:
        return []
    return [Node(dict(group.resources), max(group.max_count, 0)) for group in config.node_group_configs]


def no_room(asked: Placement) -> str:
    """What is told of room that did not come: what is asked for, what is there, and what to do."""
    import ray

    free, there = ray.available_resources(), ray.cluster_resources()
    taken = ", ".join(
        f"{there[kind] - free.get(kind, 0):g} of {there[kind]:g} {kind}s taken"
        for kind in ("CPU", "GPU")
        if there.get(kind)
    )
    return (
        f"no room after {asked.minutes:g} minutes: {asked.stage} asks for {asked}; the cluster has {describe(nodes_there())} "
        f"({taken or 'nothing taken'}). {_remedy(asked)} A longer wait: cluster.{asked.stage}.placement_minutes."
    )


def _remedy(asked: Placement) -> str:
    cpus, gpus = asked.total.get("CPU", 0), asked.total.get("GPU", 0)
    start = f"--num-cpus={cpus:g}" + (f" --num-gpus={gpus:g}" if gpus else "")
    return (
        f"Start Ray with more (`ray start --head {start}`; logical CPUs may exceed cores), lower cluster.{asked.stage}.workers, "
        "or set cluster.nodes_max to the number of nodes that an autoscaler may grow to."
    )
