"""Documents about specs: every idea of an outline through a writer; those of all specs through one start of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from msm_ray.ahead import Ahead
from msm_ray.errors import MsmError
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_settings import DocumentContent
from msm_ray.generate.documents import write_all_documents
from msm_ray.generate.outline import read_outline
from msm_ray.generate.written import accepted_digests
from msm_ray.graph.heads import add_digests
from msm_ray.graph.making import Work
from msm_ray.graph.node import Node, extent
from msm_ray.spec import Spec
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.data_file import DataFile
from msm_ray.stages.machine import Machine
from msm_ray.stages.outline import SpecOutline
from msm_ray.stages.writers import Sharer, writers_at
from msm_ray.worlds import world


@dataclass(frozen=True)
class Wording:
    """A world as its writers are asked in it: other words in its prompt make other documents."""

    world: str

    def identity(self) -> dict[str, str]:
        """The world's name and the version of its prompt."""
        return {"world": self.world, "prompt": world(self.world).prompt_version}


@dataclass(frozen=True, kw_only=True)
class Documents(Node):
    """how: who writes, and how it is sampled; wording: the world, and how it asks. asked: how many ideas in the outline's order;
    target_tokens: fewer, where these have so many tokens.

    writer: the base, where it writes itself; recording: the file that is replayed; sharers: where several write, all of them by
    their names; rendered_with: the template's options of a writer that chats.
    """

    kind: ClassVar[str] = "documents"
    version: ClassVar[int] = 4

    how: DocumentContent
    spec: Spec
    wording: Wording
    outline: SpecOutline
    asked: int = extent()
    target_tokens: int | None = extent(default=None)
    writer: Base | None = None
    recording: DataFile | None = None
    sharers: dict[str, Sharer] = field(default_factory=dict)
    rendered_with: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Documents that are asked for."""
        return self.asked

    @classmethod
    def make_all(cls, works: Sequence[Work[Documents]], machine: Machine) -> None:
        """Rows as they come, accepted or rejected, and a place for each that is accepted."""
        by_spec = {work.node.name: work for work in works}
        jobs = [job for work in works if (job := work.node.job(work, machine))]

        def finish(job: DocumentJob, counts: Mapping[str, Any]) -> None:
            rows, tokens = add_digests(job.out, accepted_digests(job)), counts["tokens_written"]
            asked = rows if counts.get("target_tokens_reached") else job.documents
            by_spec[job.spec.name].finish({"rows": rows, "asked": asked, "tokens": tokens, **counts})

        beside = Ahead(
            (work.out / "data", work.ahead_of(work.node) / each.key, each)
            for work in works
            for each in work.works_ahead(machine)
        )
        write_all_documents(
            jobs, machine.engines, finish, lambda job, error: by_spec[job.spec.name].fail(error), beside
        )

    def job(self, work: Work[Documents], machine: Machine) -> DocumentJob | None:
        """What is to be written; None where the outline, which people may have edited, can't be read."""
        try:
            outline = read_outline(work.folder(self.outline))
        except MsmError as error:
            work.fail(error)
            return None
        base = model_folder(work.folder(self.writer)) if self.writer else None
        called = {name: each.called for name, each in self.sharers.items()}
        where = machine.asking.get(self.key, {})
        sharers = writers_at(called, where, base, self.rendered_with)
        return DocumentJob(
            out=work.out,
            spec=self.spec,
            outline=outline,
            world=world(self.wording.world),
            content=self.how.model_copy(update={"replay": str(self.recording)}) if self.recording else self.how,
            where=machine.writing[self.key],
            documents=self.asked,
            target_tokens=self.target_tokens,
            model=self.how.model or (str(base) if base else ""),
            chat_template_kwargs=self.rendered_with,
            sharers=tuple(replace(writer, share=self.sharers[name].share) for name, writer in sharers.items()),
        )

    direct: ClassVar[bool] = True
