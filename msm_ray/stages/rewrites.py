"""Documents told anew: those of a spec, each through one call; those of all specs through one start of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from msm_ray.errors import MsmError
from msm_ray.generate.at_size import AT_SIZE
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.rewrites.conversation import AllRewritten, rewrites_conversation
from msm_ray.generate.rewrites.kinds import kind_of
from msm_ray.generate.rewrites.settings import RewriteContent
from msm_ray.generate.rewrites.settling import write_rewrites
from msm_ray.graph.heads import add_digests, each_first_id
from msm_ray.graph.making import Work
from msm_ray.graph.node import Node, extent
from msm_ray.rows.by_place import rows_in_order
from msm_ray.spec import Spec
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.documents import Documents
from msm_ray.stages.given import GivenDocuments
from msm_ray.stages.machine import Machine
from msm_ray.stages.writers import Called, begun, writers_at
from msm_ray.workers import HERE, WORTH_RAY, workers_for


@dataclass(frozen=True)
class RewriteWording:
    """A kind of rewrite as its writers are asked for it: other words in its prompt make other documents."""

    how: RewriteContent

    @property
    def call(self) -> str:
        """The call's name under `writer.calls`."""
        return kind_of(self.how).call.name

    def identity(self) -> str:
        """The version of its prompt."""
        return kind_of(self.how).call.prompt.version


@dataclass(frozen=True, kw_only=True)
class Rewrites(Node):
    """how: what is made of the documents; spec: what the writer is shown; asked: how many of the documents, in their places.

    called: who answers; writer: the base, where it writes itself; chat_template_kwargs: a writer's that chats.
    """

    kind: ClassVar[str] = "rewrites"
    direct: ClassVar[bool] = True

    how: RewriteContent
    spec: Spec
    wording: RewriteWording
    documents: Documents | GivenDocuments
    called: Called
    asked: int = extent()
    writer: Base | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Documents that are asked for."""
        return self.asked

    def taken(self, source: Node) -> int | None:
        """The first `asked` documents; of the base all."""
        return None if isinstance(source, Base) else self.asked

    @classmethod
    def make_all(cls, works: Sequence[Work[Rewrites]], machine: Machine) -> None:
        """Rewritten documents, each with a place, those that could not be used and why, and every raw answer."""
        by_key = {work.node.key: work for work in works if not work.waits}
        desk = Desk(machine.engines)

        def finish(key: str, found: AllRewritten, answers: Answers) -> None:
            work, rows = by_key[key], list[int]()
            workers = workers_for(WORTH_RAY, machine.engines.need_ray) if len(found) > AT_SIZE else HERE
            counts = write_rewrites(
                work.out, found, answers, work.node.name, lambda each: rows.append(add_digests(work.out, each)), workers
            )
            work.finish({"rows": rows[0], "asked": work.node.asked, **counts})

        results = desk.hold(begun(by_key, machine), finish)
        for key, result in results.items():
            if isinstance(result, MsmError):
                by_key[key].fail(result)

    def talk(self, work: Work[Rewrites], machine: Machine) -> Talk:
        """What is asked, and who answers."""
        folder = work.folder(self.documents)
        rows = rows_in_order(folder / "data", each_first_id(folder, self.asked))
        base = model_folder(work.folder(self.writer)) if self.writer else None
        called, where = {self.wording.call: self.called}, machine.asking[self.key]
        writers = writers_at(called, where, base, self.chat_template_kwargs)
        return Talk(work.out, rewrites_conversation(rows, self.spec, self.how), writers)
