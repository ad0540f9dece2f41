"""Base text that is mixed into midtraining, so that documents about one spec don't wear away all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from msm_ray.generate.replayed import write_replay
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.stages.data_file import DataFile
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Replay(Node):
    """source: a world's own text by its name, or a file of the user's; count: texts."""

    kind: ClassVar[str] = "replay"
    version: ClassVar[int] = 2

    source: str | DataFile
    count: int

    @property
    def rows(self) -> int:
        """Texts that are asked for."""
        return self.count

    def make(self, work: Work[Replay], machine: Machine) -> Counts:
        """Texts with their ids, and a card."""
        counts: dict[str, Any] = write_replay(work.out, str(self.source), self.count)
        return counts | {"asked": self.count}

    direct: ClassVar[bool] = True
