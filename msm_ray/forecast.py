"""How long what is to be made will take on this machine: known costs, scaled by what its first second shows.

Only the tiny world's costs are known; for other bases nothing is claimed. They are those of the one-seed run on two idle cores in
docs/results/quickstart.md; `REFERENCE` is what `machine.speed` counts there: twice the steps that one core makes in a second of
its time, taken on the same machine later, while it was busy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msm_ray import machine
from msm_ray.graph.planning import Planned
from msm_ray.models import is_shipped

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

REFERENCE = 440.0
ENGINE_START, SERVER_START, TRAINING_START = 28.0, 30.0, 15.0
DOCUMENTS, CHECKED, POSITIONS, ROLLOUTS = 275.0, 2_700.0, 18_300.0, 47.0
"""A second, at the reference speed: documents written and checked, positions trained on, rollouts."""
SHOWN = 0.1
"""The share of a run from which on its own pace says more than the machine's speed does."""


@dataclass(frozen=True)
class Outlook:
    """What is expected of a run. seconds: by the first kind of stages that run together; relative: this machine's speed."""

    seconds: Mapping[str, float]
    relative: float

    def line(self) -> str:
        """`about 12 minutes to go`."""
        minutes = max(1, round(sum(self.seconds.values()) / self.relative / 60))
        unit = "minute" if minutes == 1 else "minutes"
        return f"about {minutes} {unit} to go: this machine has {self.relative:.2f} times the speed of the one that was measured"

    def seconds_left(self, made: Mapping[str, float], elapsed: float) -> float:
        """What is left, at the pace that the run has shown so far; until it has shown one, at the machine's.

        made: kind -> how much of it is made, 0 to 1; elapsed: seconds that the run has taken.
        """
        whole = sum(self.seconds.values())
        done = sum(self.seconds.get(kind, 0.0) * share for kind, share in made.items())
        pace = elapsed / done if done > SHOWN * whole else 1 / self.relative
        return (whole - done) * pace


def by_kind(todo: Sequence[Planned]) -> dict[str, float]:
    """What the stages to make take at the reference speed, by kind; all training stands under `midtrain`."""
    rows = {
        kind: sum(p.node.rows or 0 for p in todo if p.node.kind == kind) for kind in ("documents", "corpus", "rollouts")
    }
    trained = [p.node.tokens or 0 for p in todo if p.node.kind in ("midtrain", "sft")]
    found: dict[str, float] = {}
    for p in todo:
        kind = "midtrain" if p.node.kind == "sft" else p.node.kind
        found[kind] = found.get(kind, 0.0) + 0.5
    more = {
        "corpus": rows["corpus"] / CHECKED,
        "documents": ENGINE_START + rows["documents"] / DOCUMENTS if rows["documents"] else 0,
        "midtrain": TRAINING_START + sum(trained) / POSITIONS if trained else 0,
        "rollouts": SERVER_START + rows["rollouts"] / ROLLOUTS if rows["rollouts"] else 0,
    }
    return {kind: seconds + more.get(kind, 0.0) for kind, seconds in found.items()}


def seconds(todo: Sequence[Planned]) -> float:
    """What the stages to make take at the reference speed."""
    return sum(by_kind(todo).values())


def look(settings: ExperimentSettings, todo: Sequence[Planned]) -> Outlook | None:
    """What is expected on this machine; None where nothing is known of the base, or the run is short."""
    if not is_shipped(settings.base.source) or seconds(todo) < 30:
        return None
    return Outlook(by_kind(todo), machine.speed() / REFERENCE)
