"""One spec's documents to be written: what of, by whom, and which ideas."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from msm_ray.engines import EngineSettings
from msm_ray.engines.replay import answers_calls, recorded_documents
from msm_ray.generate.document_settings import DocumentContent, DocumentWhere
from msm_ray.generate.outline import Idea, Ideas, Outline, listed
from msm_ray.generate.writer import Who, Writer
from msm_ray.spec import Spec
from msm_ray.worlds import World

RECORDED = ("type",)
"""What a recorded document may say of itself: fixtures were written from fixed lists of types."""


@dataclass(frozen=True, kw_only=True)
class DocumentJob:
    """One spec's documents. out: its stage folder. documents: how many at most; target_tokens: of
    documents without their plans, with which there are enough.

    content, where, model, chat_template_kwargs: of a writer that writes alone (`Writer`); sharers: of several, all of them.
    """

    out: Path
    spec: Spec
    outline: Outline
    world: World
    content: DocumentContent
    where: DocumentWhere
    documents: int
    target_tokens: int | None = None
    model: str = ""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    sharers: tuple[Writer, ...] = ()

    @cached_property
    def writers(self) -> tuple[Writer, ...]:
        """Who writes: one, or several with shares."""
        alone = Writer(
            who=Who.of(self.content),
            where=self.where,
            model=self.model,
            chat_template_kwargs=self.chat_template_kwargs,
            section="documents",
        )
        return self.sharers or (alone,)

    def writer_of(self, key: str) -> Writer:
        """Who writes the row with this id: drawn by the id, in proportion to the shares."""
        writers = self.writers
        if len(writers) == 1:
            return writers[0]
        place = int(key[:12], 16) / 16**12 * sum(writer.share for writer in writers)
        for writer in writers:
            place -= writer.share
            if place < 0:
                return writer
        return writers[-1]

    def engine(self) -> EngineSettings:
        """The engine of the (first) writer."""
        return self.writers[0].engine(recorded=RECORDED)

    def shown(self, idea: Idea) -> dict[str, str]:
        """What a writer is shown of an idea that a model had: its type, and what the spec says there and why.

        In the family `rules` the one rule that it turns on. Nothing of ideas that rules made: they have no more to say.
        """
        if not idea.written:
            return {}
        subdomain = self.outline.subdomain(idea)
        said = [each for each in subdomain.assertions if self.outline.family != "rules" or each.text == idea.assertion]
        section = {"section": subdomain.section} if self.content.shown == "section" else {}
        return {"description": idea.description, "assertions": listed(said), **section}

    def ideas(self) -> Sequence[Idea]:
        """The ideas that will be written: at most `documents`, and with recordings no more than there are."""
        documents, recording = self.documents, Path(self.content.replay or "")
        if self.content.engine == "replay" and not answers_calls(recording):
            documents = min(documents, len(recorded_documents(recording)))
        return Ideas(self.outline, documents)


def row_id(spec: Spec, idea: Idea, version: str, copy: int = 0) -> str:
    """The id of an idea's row: a hash of what makes it, never of when or where it was made.

    version: of the prompt's wording. copy: how many equal ideas came before it (an edited outline may say a thing twice): each
    is a row of its own.
    """
    parts = (spec.digest, version, idea.domain, idea.subdomain, idea.type, idea.text, *([str(copy)] if copy else []))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
