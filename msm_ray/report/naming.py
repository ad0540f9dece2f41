"""What arms are and what evals count, in plain words for whoever has not read the experiment file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.evals.registry import EvalSettings

if TYPE_CHECKING:
    from msm_ray.config.arms import ArmSettings

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


def arms(recipes: Mapping[str, ArmSettings]) -> dict[str, dict[str, Any]]:
    """Arm -> its recipe, and what it `is`: a participle that goes on from "the arm that was"."""
    return {
        name: {"midtrain": a.midtrain, "sft": a.sft, "checkpoint": _given(a), "is": _recipe(a)}
        for name, a in recipes.items()
    }


def _given(arm: ArmSettings) -> str | None:
    """A checkpoint by its hub id with the revision, or by its folder's last name: a report names no machine's folders."""
    if arm.checkpoint is None:
        return None
    name = arm.checkpoint if HUB_ID.fullmatch(arm.checkpoint) else Path(arm.checkpoint).name
    return f"{name} @{arm.revision}" if arm.revision else name


def _recipe(arm: ArmSettings) -> str:
    if arm.checkpoint:
        return f"trained elsewhere and given as {_given(arm)}"
    if arm.midtrain and arm.sft:
        return f"midtrained on {arm.midtrain}, then fine-tuned on {arm.sft}"
    if arm.midtrain:
        return f"only midtrained on {arm.midtrain}"
    return f"only fine-tuned on {arm.sft}" if arm.sft else "not trained at all"


def evals(asked: Mapping[str, EvalSettings], judges: Mapping[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Eval -> its task, what its rate `counts`, what an arm `did` in that share, who judged, and the rate of chance or null."""
    return {
        name: {
            "task": how.task,
            "counts": how.counts(name),
            "did": how.did(name),
            "chance": how.chance,
            "judges": judges[name],
        }
        for name, how in asked.items()
    }
