"""Packed blocks of tokens: a corpus or a set of chats, and what is mixed in, rendered by the base's tokenizer and template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from msm_ray.corpus.building import build_blocks
from msm_ray.corpus.settings import BlockSettings
from msm_ray.corpus.tokenizing import Rendering
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.chats import Chats
from msm_ray.stages.corpus import Corpus
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

    def make(self, work: Work[Blocks], machine: Machine) -> Counts:
        """`blocks-*.arrow`, `blocks.json`, and what was rejected."""
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
        )
        return {"rows": counts["blocks"], "tokens": counts["tokens_kept"], **counts}
