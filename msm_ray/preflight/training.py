"""Trainings that can't work, or whose result couldn't be served."""

from __future__ import annotations

from collections.abc import Iterator

from msm_ray.config import TrainSettings
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.settings_file import At

LARGEST_RANK = 512
"""vLLM's largest `max_lora_rank` (vllm/config/lora.py, 0.32)."""


def lora_rank(proposal: Proposal) -> Iterator[Finding]:
    """An adapter that no engine serves would be trained for nothing."""
    for at, how in trainings(proposal):
        if how.mode == "lora" and how.lora.r > LARGEST_RANK:
            yield proposal.error(
                (*at, "lora", "r"), f"{how.lora.r}: vLLM serves adapters up to rank {LARGEST_RANK}",
                f"set {LARGEST_RANK} or less, or mode: full",
            )  # fmt: skip


def trainings(proposal: Proposal) -> list[tuple[At, TrainSettings]]:
    """The ways of training that some arm uses, each with the path of its settings."""
    settings = proposal.settings
    ways: list[tuple[At, TrainSettings]] = []
    if any(recipe.midtrain for recipe in settings.arms.values()):
        ways.append((("midtraining",), settings.midtraining))
    for arm, recipe in settings.arms.items():
        group = arm.partition("/")[0]
        at: At = ("groups", group, "aft") if group in settings.groups else ("aft",)
        how = settings.groups[group].aft if group in settings.groups else settings.aft
        if recipe.sft and (at, how) not in ways:
            ways.append((at, how))
    return ways
