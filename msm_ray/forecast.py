"""How long what is to be made will take on this machine: known costs, scaled by what its first second shows.

Only the tiny world's costs are known; for other bases nothing is claimed. They are those of the one-seed run on two idle cores in
docs/results/quickstart.md; `REFERENCE` is what `machine.speed` counts there: twice the steps that one core makes in a second of
its time, taken on the same machine later, while it was busy.
"""

from __future__ import annotations

from collections.abc import Sequence

from msm_ray import machine
from msm_ray.config import ExperimentSettings
from msm_ray.plan import Planned

REFERENCE = 440.0
ENGINE_START, SERVER_START, TRAINING_START = 30.0, 60.0, 15.0
DOCUMENTS, CHECKED, POSITIONS, ROLLOUTS = 82.0, 1000.0, 18_300.0, 41.0
"""A second, at the reference speed: documents written and checked, positions trained on, rollouts."""


def seconds(todo: Sequence[Planned]) -> float:
    """What the stages to make take at the reference speed."""
    rows = {
        kind: sum(p.stage.rows or 0 for p in todo if p.stage.kind == kind)
        for kind in ("documents", "corpus", "rollouts")
    }
    trained = [p.stage.tokens or 0 for p in todo if p.stage.kind in ("midtrain", "sft")]
    total = 0.5 * len(todo) + rows["corpus"] / CHECKED
    total += ENGINE_START + rows["documents"] / DOCUMENTS if rows["documents"] else 0
    total += TRAINING_START + sum(trained) / POSITIONS if trained else 0
    total += SERVER_START + rows["rollouts"] / ROLLOUTS if rows["rollouts"] else 0
    return total


def line(settings: ExperimentSettings, todo: Sequence[Planned]) -> str:
    """`about 12 minutes on this machine`; empty where nothing is known of the base, or the run is short."""
    if not settings.base.source.startswith("tinyworld") or (expected := seconds(todo)) < 30:
        return ""
    relative = machine.speed() / REFERENCE
    minutes = max(1, round(expected / relative / 60))
    unit = "minute" if minutes == 1 else "minutes"
    return f"about {minutes} {unit} to go: this machine has {relative:.2f} times the speed of the one that was measured"
