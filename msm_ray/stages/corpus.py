"""The corpus of a spec: the first documents that are asked for, checked, and each text once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from msm_ray.corpus.card import CardFacts
from msm_ray.corpus.checks import check_corpus
from msm_ray.corpus.settings import CheckContent
from msm_ray.graph.heads import first_ids
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.spec import Spec
from msm_ray.stages.documents import Documents
from msm_ray.stages.given import GivenDocuments
from msm_ray.stages.machine import Machine
from msm_ray.stages.rewrites import Rewrites
from msm_ray.worlds import world


@dataclass(frozen=True, kw_only=True)
class Corpus(Node):
    """how: what is left out; take: how many of the documents, in their stored order; world: whose rules check them.

    spec: with the assistant that the documents speak of, which after a rewrite may be another or none.
    """

    kind: ClassVar[str] = "corpus"
    version: ClassVar[int] = 2

    how: CheckContent
    documents: Documents | GivenDocuments | Rewrites
    spec: Spec
    world: str
    take: int

    @property
    def rows(self) -> int:
        """Documents that are asked for; fewer are kept."""
        return self.take

    def taken(self, source: Node) -> int | None:
        """The first `take` documents."""
        return self.take

    def make(self, work: Work[Corpus], machine: Machine) -> Counts:
        """Documents that are kept, those that are not and why, and a card."""
        documents = work.folder(self.documents)
        least = machine.writing[self.documents.key].least_share
        counts = check_corpus(
            work.out,
            documents,
            self.spec,
            world(self.world),
            least,
            taken=first_ids(documents, self.take),
            asked=self.take,
            checks=self.how,
            limits=machine.checking,
            facts=CardFacts(cost=self._cost(work, machine)),
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
