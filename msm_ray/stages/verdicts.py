"""A verdict on every rollout of one eval, arm and seed: made again from the same answers at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msm_ray.evals.protocol import Judging
from msm_ray.evals.verdicts import write_verdicts
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.stages.items import EvalItems
from msm_ray.stages.machine import Machine
from msm_ray.stages.rollouts import Rollouts


@dataclass(frozen=True, kw_only=True)
class Verdicts(Node):
    """how: who judges, by which rules."""

    kind: ClassVar[str] = "verdicts"

    how: Judging
    rollouts: Rollouts
    items: EvalItems

    @property
    def rows(self) -> int | None:
        """As many as there are rollouts."""
        return self.rollouts.rows

    def make(self, work: Work[Verdicts], machine: Machine) -> Counts:
        """`verdicts.parquet`, a row a rollout."""
        return write_verdicts(work.out, work.folder(self.rollouts), work.folder(self.items), self.how)
