"""Weights that somebody else trained, as an arm: taken as they are, held against the base, and asked as our own are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from msm_ray.checkpoints.fit import Asked, Manner
from msm_ray.checkpoints.folder import take
from msm_ray.checkpoints.source import Source
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class GivenCheckpoint(Node):
    """how: which weights. base_source: the experiment's name of the base; template: whose chat template it is asked with.

    chat_template_kwargs, thinking: what its chats are rendered with, where the two templates are held against each other.
    """

    kind: ClassVar[str] = "checkpoint"

    how: Source
    base: Base
    base_source: str
    template: Asked | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    thinking: bool | None = None

    def make(self, work: Work[GivenCheckpoint], machine: Machine) -> Counts:
        """`adapter/` or `model/`, and `given.json`: what was found in it."""
        base = model_folder(work.folder(self.base))
        manner = Manner(base, self.base_source, self.template, self.chat_template_kwargs, self.thinking)
        return take(work.out, self.how, manner)
