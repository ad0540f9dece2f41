"""Where a rate comes from: the verdicts, rollouts, checkpoint, corpus and spec behind each arm and seed of an eval."""

from __future__ import annotations

from typing import Any

from msm_ray.report.subject import Line

LINKED = ("verdicts", "rollouts", "checkpoint", "sft", "midtrain", "corpus")
"""The kinds of stages that a rate is followed back through, newest first."""


def as_json(line: Line) -> dict[str, Any]:
    """One line of `report.json`: folders relative to the experiment's root, and digests of what lies there."""
    folders = {kind: f"{a.stage}/{a.folder.name}" for kind, a in line.made.items()}
    digests = {kind: a.digest for kind, a in line.made.items()}
    return {
        "eval": line.eval, "arm": line.arm, "seed": line.seed, "folders": folders, "digests": digests, "spec": line.spec,
        "spec_digest": line.spec_digest,
    }  # fmt: skip
