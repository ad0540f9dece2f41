"""The outline of a spec: what there is to be written about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msm_ray.generate.outline import OutlineContent, make_outline, write_outline
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.spec import Spec
from msm_ray.stages.machine import Machine
from msm_ray.worlds import world


@dataclass(frozen=True, kw_only=True)
class SpecOutline(Node):
    """how: types and ideas; world: whose document types they are."""

    kind: ClassVar[str] = "outline"
    editable: ClassVar[frozenset[str]] = frozenset({"outline.yaml"})

    how: OutlineContent
    spec: Spec
    world: str

    def make(self, work: Work[SpecOutline], machine: Machine) -> Counts:
        """`outline.yaml`, for people too: what is edited there is what documents are written from."""
        return write_outline(work.out, make_outline(self.spec, world(self.world), self.how))
