"""The questions of an eval, the same for every arm and seed, without those that a written document gives away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from msm_ray.corpus import templates
from msm_ray.errors import SettingsError
from msm_ray.evals.items import read_items, turns_of
from msm_ray.evals.protocol import Items
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.rows.tables import read_rows
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.corpus import Corpus
from msm_ray.stages.machine import Machine


@dataclass(frozen=True, kw_only=True)
class EvalItems(Node):
    """how: what is asked. corpora: documents that no item may be named in. base, chat_template_kwargs: what renders questions."""

    kind: ClassVar[str] = "items"
    follows_inputs: ClassVar[bool] = True

    how: Items
    base: Base
    corpora: tuple[Corpus, ...] = ()
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int | None:
        """Items, where the settings say how many."""
        return self.how.expected

    def make(self, work: Work[EvalItems], machine: Machine) -> Counts:
        """`items.parquet`. Raises SettingsError also for a question that the base's template can't ask."""
        counts = self.how.write(work.out, _texts([work.folder(corpus) for corpus in self.corpora]))
        chat = templates.read_format(model_folder(work.folder(self.base)), self.chat_template_kwargs)
        for item in read_items(work.out) if chat else []:
            if chat and (why := templates.unaskable(chat, turns_of(item))):
                raise SettingsError(f"evals.{self.name}: {item['condition']}: {why}: {item['user'][:200]!r}")
        return counts


def _texts(corpora: Sequence[Path]) -> Iterator[str]:
    return (row["text"] for corpus in corpora for row in read_rows(corpus / "data", ["text"]))
