"""The base model as a folder: what every arm starts from, and whose tokenizer all blocks are made with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msm_ray import models
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Base(Node):
    """how: where it comes from, and a checksum of its files where they are at hand."""

    kind: ClassVar[str] = "base"

    how: models.Source

    def make(self, work: Work[Base], machine: Machine) -> Counts:
        """`model/`, a Hugging Face folder."""
        return models.fetch_base(work.out, self.how.base)


def model_folder(folder: Path) -> Path:
    """Where the model lies in a base's folder."""
    return folder / "model"
