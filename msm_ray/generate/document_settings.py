"""How documents about specs are written: what they are, how many there are, and where and how fast they are made."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from msm_ray.engines.settings import EngineName, check_engine
from msm_ray.settings_base import (
    Minutes,
    Requests,
    Rows,
    Seconds,
    Settings,
    Share,
    Temperature,
    Tokens,
    Tries,
    Unit,
    Where,
)


class SamplingSettings(Settings):
    """How documents are sampled."""

    temperature: Temperature = 1.0
    """Sampling temperature. Paper: 1.0."""
    top_p: Annotated[float, Field(gt=0, le=1), Unit("share")] = 1.0
    """Share of the likeliest words that is sampled from."""
    max_tokens: Tokens = 8192
    """Longest answer; what is cut off is rejected. Paper: documents of about 3,100 tokens; a cap of 5,000 cut a fifth of them."""
    seed: int = 0
    """Seed of the engine."""


class DocumentContent(Settings):
    """What documents are: who writes them, and how the writer is asked."""

    moved: ClassVar[dict[str, str]] = {
        "prompt": "two settings took its place: `world` at the top level (plain or tinyworld), and `documents.ask` (chat or "
        "completion)"
    }
    """Settings that are gone, and what says the same now."""

    engine: EngineName | str = "vllm"
    """Who writes: a model here (`vllm`) or behind an address (`endpoint`), a file of recordings (`replay`), the spec's own
    sentences in plain frames, without a model (`offline`), or `package.module:function` of your own (docs/architecture.md).
    Paper: Claude Opus 4.6."""
    model: str | None = None
    """Folder or hub id of the writer, or the endpoint's name of it. None: the base writes."""
    ask: Literal["chat", "completion"] = "chat"
    """Whether the writer gets its prompt as a user's message, or as a text to go on from."""
    replay: str | None = None
    """File of recorded documents (JSONL or Parquet), for `engine: replay`."""
    sampling: SamplingSettings = SamplingSettings()
    """How the writer is sampled."""

    @field_validator("engine")
    @classmethod
    def engine_exists(cls, engine: str) -> str:
        """Engines are functions of the package (`engines/`), or of the user's own."""
        check_engine(engine)
        return engine


class DocumentExtent(Settings):
    """How far: what is written is the same however many there are, and who reads documents says how many they take."""

    documents: Annotated[int, Field(gt=0), Unit("documents")] = 13201
    """Most documents of a spec. Paper: 13,201 (philosophy), 6,400 and 4,600 (cheese)."""


class OutlineContent(Settings):
    """What an outline holds."""

    types: Annotated[int, Field(gt=0), Unit("a section")] = 20
    """Document types (letter, forum post, ...) for each section of the spec. Paper: 20."""
    ideas: Annotated[int, Field(gt=0), Unit("a type and section")] = 25
    """Ideas, each of which becomes a document. Paper: 25."""


class DocumentWhere(Where):
    """Where and how fast documents are written, and what ends the run: none of it changes one."""

    url: str | None = None
    """Base address, for `engine: endpoint`, such as https://HOST/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable with the endpoint's key."""
    attempts: Tries = 3
    """Tries that a document gets before it is rejected for good."""
    least_share: Share = 0.5
    """A corpus that keeps less than this share of the documents ends the run with exit code 4."""
    most_refused: Share = 0.05
    """Share of rows that the engine may refuse for their own sake (too long, filtered); more ends the run with exit code 4."""
    batch_size: Rows = 32
    """Rows that go to an engine together."""
    in_flight: Annotated[int, Field(gt=0), Unit("batches")] = 4
    """Batches that are with an engine at the same time."""
    no_progress_minutes: Minutes = 10
    """Without a new row for so long the stage stops, with the engine's last words."""
    request_seconds: Seconds = 600
    """Time limit of one request to an endpoint."""
    request_tries: Requests = 6
    """Requests that a row gets of an endpoint, waits growing between them."""


class DocumentSettings(DocumentWhere, OutlineContent, DocumentExtent, DocumentContent):
    """How documents about specs are written. `corpora` says what a single spec does its own way."""
