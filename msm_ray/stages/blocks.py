"""Packed blocks of tokens: a corpus or a set of chats, and what is mixed in, rendered by the base's tokenizer and template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from msm_ray.corpus.building import build_blocks
from msm_ray.corpus.settings import BlockSettings
from msm_ray.corpus.tokenizing import Rendering
from msm_ray.corpus.tokens_ahead import TokensAhead
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.chats import Chats
from msm_ray.stages.corpus import Corpus
from msm_ray.stages.documents import Documents
from msm_ray.stages.machine import Machine
from msm_ray.stages.replay import Replay


@dataclass(frozen=True, kw_only=True)
class Blocks(Node):
    """texts: what is trained on; mixed: what is mixed in by `how.mix`.

    separator: between documents; chat_template_kwargs, thinking, mix_thinking: how chats are rendered (`Rendering`).
    """

    kind: ClassVar[str] = "blocks"
    version: ClassVar[int] = 2

    how: BlockSettings
    base: Base
    texts: Corpus | Chats
    mixed: Replay | Chats | None = None
    separator: str | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    thinking: bool | None = None
    mix_thinking: bool | None = None

    def ahead(self, source: Node, folder: Callable[[Node], Path], machine: Machine) -> TokensAhead | None:
        """Documents are tokenized, where a corpus is made of them as they are written."""
        own = self._documents()
        if own is None or own.key != source.key or not isinstance(folder(source), Path):
            return None
        model = model_folder(folder(self.base))
        return TokensAhead(model, self.separator) if model.is_dir() else None

    def _documents(self) -> Documents | None:
        """What the corpus is made of, where these are documents as they were written."""
        of = self.texts.documents if isinstance(self.texts, Corpus) else None
        return of if isinstance(of, Documents) else None

    def make(self, work: Work[Blocks], machine: Machine) -> Counts:
        """`blocks-*.arrow`, `blocks.json`, and what was rejected."""
        documents = self._documents()
        counts = build_blocks(
            work.out,
            kind="documents" if isinstance(self.texts, Corpus) else "chats",
            main=work.folder(self.texts) / "data",
            other=work.folder(self.mixed) / "data" if self.mixed else None,
            tokenizer=model_folder(work.folder(self.base)),
            settings=self.how,
            seed=0,
            rendering=Rendering(self.separator, self.chat_template_kwargs, self.thinking, self.mix_thinking),
            need_ray=machine.need_ray,
            documents=work.reached(documents) if documents else None,
            ahead=work.ahead_of(documents) if documents else None,
        )
        return {"rows": counts["blocks"], "tokens": counts["tokens_kept"], **counts}
