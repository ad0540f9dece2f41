"""What a stage asks of the cluster, and whether a cluster has it. One place for preflight, generation, training and serving.

`asks` is plain arithmetic (settings in, bundles out); `room` looks at a running Ray and waits until it has room.
"""

from msm_ray.placement.asks import (
    Bundle,
    Node,
    Placement,
    engine_bundles,
    generation,
    placements,
    rank_bundle,
    remedy_here,
    serving,
    short_here,
    shortfall,
    this_machine,
    training,
    writing_engines,
)

__all__ = [
    "Bundle",
    "Node",
    "Placement",
    "engine_bundles",
    "generation",
    "placements",
    "rank_bundle",
    "remedy_here",
    "serving",
    "short_here",
    "shortfall",
    "this_machine",
    "training",
    "writing_engines",
]
