"""One spec's documents to be written: what of, by whom, and which ideas."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msm_ray.engines import EngineSettings
from msm_ray.engines.replay import count_recorded
from msm_ray.generate.document_settings import DocumentContent, DocumentWhere
from msm_ray.generate.outline import Idea, Outline, list_ideas
from msm_ray.spec import Spec
from msm_ray.worlds import World


@dataclass(frozen=True, kw_only=True)
class DocumentJob:
    """One spec's documents. out: its stage folder. documents: how many at most.

    model: the writer's weights (folder or hub id) or the endpoint's model; chat_template_kwargs: the experiment's, with which a
    writer that chats is asked.
    """

    out: Path
    spec: Spec
    outline: Outline
    world: World
    content: DocumentContent
    where: DocumentWhere
    documents: int
    model: str = ""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def engine(self, attempt: int = 0) -> EngineSettings:
        """Who writes, at a try: the engine's seed is another at each."""
        content, where = self.content, self.where
        return EngineSettings(
            engine=content.engine,
            model=self.model,
            chat=content.ask == "chat",
            chat_template_kwargs=tuple(self.chat_template_kwargs.items()),
            seed=content.sampling.seed + attempt,
            url=where.url,
            key_variable=where.key_variable,
            replay=content.replay,
            recorded=("type",),
            batch_size=where.batch_size,
            in_flight=where.in_flight,
            request_seconds=where.request_seconds,
            request_tries=where.request_tries,
        )

    def ideas(self) -> list[Idea]:
        """The ideas that will be written: at most `documents`, and with recordings no more than there are."""
        documents = self.documents
        if self.content.engine == "replay":
            documents = min(documents, count_recorded(Path(self.content.replay or "")))
        return list_ideas(self.outline, documents)


def row_id(spec: Spec, idea: Idea, version: str, copy: int = 0) -> str:
    """The id of an idea's row: a hash of what makes it, never of when or where it was made.

    version: of the prompt's wording. copy: how many equal ideas came before it (an edited outline may say a thing twice): each
    is a row of its own.
    """
    parts = (spec.digest, version, idea.domain, idea.subdomain, idea.type, idea.text, *([str(copy)] if copy else []))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
