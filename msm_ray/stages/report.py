"""The report: rates with intervals, differences, figures and a page, from every verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from msm_ray.evals.registry import EvalSettings
from msm_ray.graph.artifacts import Artifact
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.report import write_report
from msm_ray.report.settings import ReportSettings
from msm_ray.report.subject import Line, Subject
from msm_ray.spec import Spec
from msm_ray.stages.machine import Machine
from msm_ray.stages.training import Checkpoint, Midtrain, Sft
from msm_ray.stages.verdicts import Verdicts

if TYPE_CHECKING:
    from msm_ray.config.arms import ArmSettings


@dataclass(frozen=True, kw_only=True)
class Report(Node):
    """how: what it is to show. statistics: digest of the code that computes. specs: of the arms, by their names. trained:
    every checkpoint, asked or not, for its curve.
    """

    kind: ClassVar[str] = "report"
    version: ClassVar[int] = 2
    derived: ClassVar[bool] = True

    how: ReportSettings
    experiment: str
    arms: dict[str, ArmSettings]
    evals: dict[str, EvalSettings]
    base_source: str
    assistant: str
    seeds: int
    specs: dict[str, Spec]
    statistics: str
    verdicts: tuple[Verdicts, ...]
    trained: tuple[Checkpoint, ...]

    def make(self, work: Work[Report], machine: Machine) -> Counts:
        """`report.json`, `report.html`, CSV files and figures."""
        return write_report(work.out, self.subject(work.behind()))

    def subject(self, there: Mapping[str, Artifact]) -> Subject:
        """What it is about. there: what was made, by key."""
        lines = tuple(self._line(verdicts, there) for verdicts in self.verdicts)
        return Subject(
            self.experiment, self.how, self.arms, self.evals, self.base_source, self.assistant, self.seeds, lines, there
        )

    def _line(self, verdicts: Verdicts, there: Mapping[str, Artifact]) -> Line:
        """Where one arm and seed of an eval come from. An arm's own SFT is nearer than the midtraining that it goes on from."""
        rollouts = verdicts.rollouts
        checkpoint = rollouts.checkpoint
        behind = [verdicts, rollouts, checkpoint]
        midtrain = checkpoint.parent if isinstance(checkpoint, Sft) else checkpoint
        if isinstance(midtrain, Midtrain):
            behind += [midtrain, midtrain.blocks.texts]
        made = {node.kind: there[node.key] for node in behind if node.key in there and node.kind != "base"}
        spec = self.specs.get(self.arms[rollouts.arm].midtrain or "")
        return Line(
            rollouts.items.name,
            rollouts.arm,
            rollouts.seed,
            made,
            spec.name if spec else "",
            spec.digest if spec else "",
        )
