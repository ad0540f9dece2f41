"""What a report is about: the experiment's recipes and evals, where each rate comes from, and everything that was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msm_ray.evals.registry import EvalSettings
from msm_ray.graph.artifacts import Artifact
from msm_ray.report.settings import ReportSettings

if TYPE_CHECKING:
    from msm_ray.config.arms import ArmSettings


@dataclass(frozen=True)
class Line:
    """One arm and seed of an eval. made: kind -> artifact; spec: name and digest of the spec, empty without midtraining."""

    eval: str
    arm: str
    seed: int
    made: Mapping[str, Artifact]
    spec: str
    spec_digest: str


@dataclass(frozen=True)
class Subject:
    """experiment: its name. lines: of every rate, in the order of the verdicts. artifacts: all that it was made from, by key."""

    experiment: str
    report: ReportSettings
    arms: Mapping[str, ArmSettings]
    evals: Mapping[str, EvalSettings]
    base: str
    assistant: str
    seeds: int
    lines: tuple[Line, ...]
    artifacts: Mapping[str, Artifact]
