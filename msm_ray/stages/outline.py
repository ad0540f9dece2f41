"""The outline of a spec: what there is to be written about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from msm_ray.errors import MsmError
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.outline import (
    OutlineContent,
    make_outline,
    outline_conversation,
    prompt_versions,
    read_draft,
    write_outline,
)
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.spec import Spec
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.data_file import DataFile
from msm_ray.stages.machine import Machine
from msm_ray.stages.writers import Called, begun, writers_at
from msm_ray.worlds import world

CALLS = ("domains", "subdomains", "assertions", "types", "ideas")
"""What a writer is asked for one, in this order (paper: calls 1 to 5 of 6 for documents)."""


@dataclass(frozen=True)
class Asking:
    """How an outline is asked of a model. writers: who answers each call; family: which wording of the prompts.

    chat_template_kwargs: of writers that chat.
    """

    writers: Mapping[str, Called]
    family: str
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Who is asked, and in which words."""
        said = {"writers": {call: each.identity() for call, each in self.writers.items()}}
        return {
            **said,
            "prompts": prompt_versions(self.family),
            "chat_template_kwargs": dict(self.chat_template_kwargs),
        }


@dataclass(frozen=True, kw_only=True)
class SpecOutline(Node):
    """how: types and ideas, and who makes it; world: whose document types they are, where rules make it.

    asking: where a model makes it; writer: the base, where it writes itself; given_file: the outline that settings name.
    """

    kind: ClassVar[str] = "outline"
    editable: ClassVar[frozenset[str]] = frozenset({"outline.yaml"})

    how: OutlineContent
    spec: Spec
    world: str
    asking: Asking | None = None
    writer: Base | None = None
    given_file: DataFile | None = None

    @classmethod
    def make_all(cls, works: Sequence[Work[SpecOutline]], machine: Machine) -> None:
        """`outline.yaml`, for people too: what is edited there is what documents are written from.

        Those that a model makes are made side by side, a level at a time, through one start of the engine.
        """
        super().make_all([work for work in works if work.node.asking is None], machine)
        by_key = {work.node.key: work for work in works if work.node.asking}
        talks = begun(by_key, machine)

        def finish(key: str, outline: Any, answers: Answers) -> None:
            by_key[key].finish({**write_outline(by_key[key].out, outline), **answers.counts()})

        if not talks:
            return
        desk = Desk(machine.engines)
        for key, result in desk.hold(talks, finish).items():
            if isinstance(result, MsmError):
                by_key[key].fail(result)

    def make(self, work: Work[SpecOutline], machine: Machine) -> Counts:
        """By the rules that take the spec's own headings and sentences."""
        return write_outline(work.out, make_outline(self.spec, world(self.world), self.how))

    def talk(self, work: Work[SpecOutline], machine: Machine) -> Talk:
        """The conversation with its writers. Raises SettingsError for a given outline that can't be read."""
        assert self.asking
        given = read_draft(Path(str(self.given_file))) if self.given_file else None
        base = model_folder(work.folder(self.writer)) if self.writer else None
        writers = writers_at(self.asking.writers, machine.asking[self.key], base, self.asking.chat_template_kwargs)
        return Talk(work.out, outline_conversation(self.spec, self.how, given=given), writers)

    direct: ClassVar[bool] = True
