"""Where a rate comes from: the verdicts, rollouts, checkpoint, corpus and spec behind each arm and seed of an eval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msm_ray.artifacts import Artifact
from msm_ray.experiment import Experiment, Stage

LINKED = ("verdicts", "rollouts", "sft", "midtrain", "corpus")
"""The kinds of stages that a rate is followed back through, newest first."""


@dataclass(frozen=True)
class Line:
    """One arm and seed of an eval. made: kind -> artifact; spec: name and digest of the spec, empty without midtraining."""

    eval: str
    arm: str
    seed: int
    made: Mapping[str, Artifact]
    spec: str
    spec_digest: str


def lines(experiment: Experiment, artifacts: Mapping[str, Artifact]) -> list[Line]:
    """The lineage of every rate, in the order of the verdicts' stages."""
    found = []
    for stage in experiment.of_kind("verdicts"):
        behind = _behind(experiment, stage)
        rollouts = behind["rollouts"]
        arm, seed = str(rollouts.settings["arm"]), int(rollouts.settings["seed"])
        made = {kind: artifacts[s.key] for kind, s in behind.items() if kind in LINKED and s.key in artifacts}
        spec = experiment.settings.arms[arm].midtrain or ""
        digest = experiment.specs[spec].digest if spec else ""
        found.append(Line(_eval_of(stage), arm, seed, made, spec, digest))
    return found


def as_json(line: Line) -> dict[str, Any]:
    """One line of `report.json`: folders relative to the experiment's root, and digests of what lies there."""
    folders = {kind: f"{a.stage}/{a.folder.name}" for kind, a in line.made.items()}
    digests = {kind: a.digest for kind, a in line.made.items()}
    return {
        "eval": line.eval, "arm": line.arm, "seed": line.seed, "folders": folders, "digests": digests, "spec": line.spec,
        "spec_digest": line.spec_digest,
    }  # fmt: skip


def _eval_of(stage: Stage) -> str:
    return next(key for key in stage.inputs if key.startswith("items/")).partition("/")[2]


def _behind(experiment: Experiment, stage: Stage) -> dict[str, Stage]:
    """Kind -> the nearest stage of it that this one was made from. An arm's own sft is nearer than its parents."""
    found: dict[str, Stage] = {}
    waiting = [stage.key]
    for key in waiting:
        stage = experiment.stages[key]
        found.setdefault(stage.kind, stage)
        # Items are made from every corpus (what is held out), which is no lineage of this arm.
        waiting += [i for i in stage.inputs if not i.startswith("items/") and i not in waiting]
    return found
