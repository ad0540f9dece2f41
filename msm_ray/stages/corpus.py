"""The corpus of a spec: the first documents that are asked for, checked, and each text once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msm_ray.corpus.card import CardFacts
from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.gathering import files_in, size_of
from msm_ray.corpus.looks import LooksAhead, Rules
from msm_ray.corpus.settings import CheckContent
from msm_ray.errors import MsmError
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.faithfulness import CALL as FAITHFULNESS
from msm_ray.generate.faithfulness import Faithful, faithfulness_conversation, sample
from msm_ray.graph.heads import each_first_id
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.rows.pieces import rows_with
from msm_ray.spec import Spec
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.documents import Documents
from msm_ray.stages.given import GivenDocuments
from msm_ray.stages.machine import Machine
from msm_ray.stages.rewrites import Rewrites
from msm_ray.stages.writers import Judge, begun, writers_at
from msm_ray.workers import workers_for
from msm_ray.worlds import world


@dataclass(frozen=True, kw_only=True)
class Corpus(Node):
    """how: what is left out; take: how many of the documents, in their stored order; world: whose rules check them.

    spec: with the assistant that the documents speak of, which after a rewrite may be another or none; judge: of faithfulness, on
    a sample; writer: the base, where that judges.
    """

    kind: ClassVar[str] = "corpus"
    version: ClassVar[int] = 3

    how: CheckContent
    documents: Documents | GivenDocuments | Rewrites
    spec: Spec
    world: str
    take: int
    judge: Judge | None = None
    writer: Base | None = None

    @property
    def rows(self) -> int:
        """Documents that are asked for; fewer are kept."""
        return self.take

    def taken(self, source: Node) -> int | None:
        """The first `take` documents; of the base all."""
        return None if isinstance(source, Base) else self.take

    @classmethod
    def make_all(cls, works: Sequence[Work[Corpus]], machine: Machine) -> None:
        """Corpora that nobody judges one by one; samples of the others are judged side by side."""
        super().make_all([work for work in works if work.node.judge is None], machine)
        by_key = {work.node.key: work for work in works if work.node.judge and not work.waits}
        if not by_key:
            return

        def finish(key: str, judged: dict[str, Faithful], answers: Answers) -> None:
            work = by_key[key]
            work.begins()
            try:
                work.finish({**work.node.checked(work, machine, judged), **answers.counts()})
            except MsmError as error:
                work.fail(error)

        desk = Desk(machine.engines)
        for key, result in desk.hold(begun(by_key, machine), finish).items():
            if isinstance(result, MsmError):
                by_key[key].fail(result)

    def talk(self, work: Work[Corpus], machine: Machine) -> Talk:
        """The conversation with the judge, about a sample of the documents."""
        assert self.judge
        folder = work.folder(self.documents)
        drawn = sample(each_first_id(folder, self.take), self.how.faithful_sample)
        rows = rows_with(folder / "data", drawn)
        base = model_folder(work.folder(self.writer)) if self.writer else None
        judge = {FAITHFULNESS: self.judge.judge}
        writers = writers_at(judge, machine.asking[self.key], base, self.judge.chat_template_kwargs)
        return Talk(work.out, faithfulness_conversation(self.spec, rows), writers)

    def ahead(self, source: Node, folder: Callable[[Node], Path], machine: Machine) -> LooksAhead | None:
        """Documents are looked at, where it is made of them as they are written."""
        if source.key != self.documents.key or not isinstance(source, Documents):
            return None
        return LooksAhead(Rules(self.spec, world(self.world), self.how), machine.writing[source.key].least_share)

    def make(self, work: Work[Corpus], machine: Machine) -> Counts:
        """Documents that are kept, those that are not and why, and a card."""
        return self.checked(work, machine, {})

    def checked(self, work: Work[Corpus], machine: Machine, judged: Mapping[str, Faithful]) -> Counts:
        """The same, with what a judge said of some."""
        documents = work.folder(self.documents)
        least = machine.writing[self.documents.key].least_share
        counts = check_corpus(
            work.out,
            documents,
            self.spec,
            world(self.world),
            least,
            taken=each_first_id(documents, self.take),
            asked=self.take,
            checks=self.how,
            limits=machine.checking,
            facts=CardFacts(cost=self._cost(work, machine)),
            judged=judged,
            by_headings=isinstance(self.documents, Documents) and self.documents.outline.asking is None,
            looked=work.ahead_of(self.documents),
            workers=workers_for(size_of(files_in(documents)), machine.need_ray),
        )
        return {"rows": counts["documents"], "tokens": counts["tokens_written"] or None, **counts}

    def _cost(self, work: Work[Corpus], machine: Machine) -> dict[str, str]:
        """What the stages behind it took of their writers: tokens, and dollars where the documents' writer has prices."""
        counts = [artifact.counts for artifact in work.behind().values()]
        read, written = (sum(each.get(what) or 0 for each in counts) for what in ("tokens_read", "tokens_written"))
        if not written:
            return {}
        prices = machine.writing[self.documents.key].prices
        paid = (read * prices.input + written * prices.output) / 1e6 if prices else None
        said = {"tokens of prompts": f"{read:,}", "tokens written, plans and rejected answers included": f"{written:,}"}
        return said | ({"dollars, at the prices of the documents' writer": f"{paid:,.2f}"} if paid is not None else {})

    direct: ClassVar[bool] = True
