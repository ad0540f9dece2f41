"""How documents about specs are written: what they are, how many there are, and where and how fast they are made."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from msm_ray.generate.given_settings import GivenDocumentSettings
from msm_ray.generate.outline.settings import OutlineContent
from msm_ray.generate.rewrites.settings import RewriteSettings
from msm_ray.generate.writer_settings import SharedWriter, WriterContent, WriterWhere
from msm_ray.settings_base import Settings, Share, Unit

STOCK_NAMES = (
    "Sarah", "Elena", "Marcus", "Maya", "Priya", "Chen", "Okafor", "Vasquez", "Thorne", "Elias", "Amara", "Rodriguez", "Patel",
    "Lily", "Aisha", "Whitmore", "Hartley", "Kai", "Nadia", "Tomasz",
)  # fmt: skip


class DocumentContent(WriterContent):
    """What documents are: who writes them, and how the writer is asked."""

    moved: ClassVar[dict[str, str]] = {
        "prompt": "two settings took its place: `world` at the top level (plain or tinyworld), and `documents.ask` (chat or "
        "completion)"
    }
    """Settings that are gone, and what says the same now."""

    shown: Literal["spec", "section"] = "spec"
    """What of the spec a writer is shown: the whole, or only the section that the document is about, for writers with a
    short context. Paper: the whole."""
    avoid: tuple[str, ...] = STOCK_NAMES
    """Names that models give people too readily (one occurred 439,000 times in a corpus of this kind); the writer is told to
    leave out. Paper: none."""


class DocumentExtent(Settings):
    """How far: what is written is the same however many there are, and who reads documents says how many they take."""

    documents: Annotated[int, Field(gt=0), Unit("documents")] = 13201
    """Most documents of a spec. Paper: 13,201 (philosophy), 6,400 and 4,600 (cheese)."""
    target_tokens: Annotated[int, Field(gt=0), Unit("tokens")] | None = None
    """Tokens of documents, their plans left out, with which there are enough, though more ideas are there. None: all `documents`
    are written. Paper: 41.4M (philosophy), 9.5M and 7.1M (cheese)."""


class DocumentWhere(WriterWhere):
    """Where and how fast documents are written, and what ends the run: none of it changes one."""

    least_share: Share = 0.5
    """A corpus that keeps less than this share of the documents ends the run with exit code 4."""


class DocumentWriters(Settings):
    """Who shares the writing."""

    writers: dict[str, SharedWriter] = {}
    """Several writers, by names of your own, each with its share and what differs from the rest of this section; every document
    says who wrote it. None: one writer."""


class DocumentSettings(
    DocumentWhere,
    GivenDocumentSettings,
    DocumentWriters,
    RewriteSettings,
    OutlineContent,
    DocumentExtent,
    DocumentContent,
):
    """How documents about specs are written. `corpora` says what a single spec does its own way."""
