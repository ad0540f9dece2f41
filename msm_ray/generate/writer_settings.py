"""Who writes, and how a writer is asked: said once for an experiment (`writer`), otherwise for a call (`writer.calls`)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from msm_ray.engines.settings import EngineName, check_engine
from msm_ray.settings_base import (
    Count,
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

TemplateOptions = dict[str, str | bool | int | float]
Dollars = Annotated[float, Field(ge=0), Unit("US dollars")]
PerMinute = Annotated[float, Field(gt=0), Unit("a minute")]
DollarsPerMillion = Annotated[float, Field(ge=0), Unit("US dollars per million tokens")]

BATCH_PATIENCE_MINUTES = 26 * 60.0


class Prices(Where):
    """What tokens cost."""

    input: DollarsPerMillion
    """Price of the tokens of prompts."""
    output: DollarsPerMillion
    """Price of the tokens that are generated, reasoning included."""


class SamplingSettings(Settings):
    """How answers are sampled."""

    temperature: Temperature = 1.0
    """Sampling temperature. Paper: 1.0."""
    top_p: Annotated[float, Field(gt=0, le=1), Unit("share")] = 1.0
    """Share of the likeliest words that is sampled from."""
    max_tokens: Tokens = 8192
    """Longest answer; what is cut off is rejected. Paper: documents of about 3,100 tokens; a cap of 5,000 cut a fifth of them."""
    seed: int = 0
    """Seed of the engine."""


class WriterContent(Settings):
    """Who writes, and how the writer is asked: part of what is written."""

    engine: EngineName | str = "vllm"
    """Who writes: a model here (`vllm`) or behind an address (`endpoint`), a file of recordings (`replay`), the spec's own
    sentences in plain frames, without a model (`offline`), or `package.module:function` of your own (docs/architecture.md).
    Paper: Claude Opus 4.6."""
    model: str | None = None
    """Folder or hub id of the writer, or the endpoint's name of it. None: the base writes."""
    ask: Literal["chat", "completion"] = "chat"
    """Whether the writer gets its prompt as a user's message, or as a text to go on from."""
    replay: str | None = None
    """File of recorded answers (JSONL or Parquet), or a folder of such files, for `engine: replay`. Found by the prompt that they
    answer, by the row's id, or else in order."""
    sampling: SamplingSettings = SamplingSettings()
    """How documents are sampled; the other calls have a temperature and a longest answer of their own (`writer.calls`)."""
    chat_template_kwargs: TemplateOptions | None = None
    """What the writer's chats are rendered with. None: as the experiment's chats (`chat_template_kwargs`) where weights are asked
    here, and nothing is sent to an endpoint, which may refuse it."""

    @field_validator("engine")
    @classmethod
    def engine_exists(cls, engine: str) -> str:
        """Engines are functions of the package (`engines/`), or of the user's own."""
        check_engine(engine)
        return engine


class WriterWhere(Where):
    """Where and how fast a writer answers, what it costs, and what ends the run: none of it changes an answer."""

    url: str | None = None
    """Base address, for `engine: endpoint`, such as https://HOST/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable with the endpoint's key, or several, separated by commas or white space: they are used in
    turn, and one that is refused or spent is given up."""
    requests_per_minute: PerMinute | None = None
    """Requests that begin in a minute, evenly, with each key of the endpoint, all workers together. None: as many as can be."""
    tokens_per_minute: PerMinute | None = None
    """The same of tokens: the prompt's and the longest answer's, put right by what the reply says. None: no limit."""
    prices: Prices | None = None
    """What the writer's tokens cost, half of it in batches. None: plan says tokens only, and nothing is counted against
    `spend_limit`."""
    tokens_per_second: Annotated[float, Field(gt=0), Unit("generated tokens a second")] | None = None
    """How fast the writer writes, all requests together, for plan's hours. None: plan says none."""
    attempts: Tries = 3
    """Tries that a row gets before it is rejected for good."""
    most_refused: Share = 0.05
    """Share of rows that the engine may refuse for their own sake (too long, filtered); more ends the run with exit code 4."""
    batch_size: Rows = 32
    """Rows of a batch: an engine has `in_flight` of these at the same time, each row answered by itself."""
    in_flight: Annotated[int, Field(gt=0), Unit("batches")] = 4
    """Batches that are with an engine (of an endpoint: with each of `cluster.generation.workers`) at the same time; vLLM gets at
    least four times `max_num_seqs` rows."""
    no_progress_minutes: Minutes = 15
    """Without a new row for so long the stage stops, with the engine's last words. More than a request may take
    (`request_seconds`), so that one that is lost gets another try. With `batch` at least 26 hours."""
    portion: Rows = 2000
    """Documents after which names and openings that came too often are looked for, and the writer is told to leave them out from
    then on; with more than 20,000 documents after twice as many each time. In a closed language never."""
    request_seconds: Seconds = 600
    """Time limit of one request to an endpoint."""
    request_tries: Requests = 6
    """Requests that a row gets of an endpoint, waits growing between them. One that is told to come later (429) is none."""
    batch: bool = False
    """Whether an endpoint is asked by its Batch API (files and batches as OpenAI has them): half the price, answers in a day."""
    batch_requests: Requests = 10_000
    """Most requests of one batch. OpenAI takes 50,000."""
    batch_gather_seconds: Seconds = 30
    """A batch is sent when it is full, or so long after the last request that came to it."""
    batch_poll_seconds: Seconds = 30
    """How often it is asked how far a batch is."""

    @property
    def patience_minutes(self) -> float:
        """Without a new row for so long the stage stops: with batches never before these have had their day."""
        return max(self.no_progress_minutes, BATCH_PATIENCE_MINUTES) if self.batch else self.no_progress_minutes


class WrittenChatsWhere(Where):
    """Where questions are compared."""

    embedding_threads: Count | None = None
    """Threads of the CPU with which the embedder computes. None: as many as torch takes."""
    embedding_batch: Annotated[int, Field(gt=0), Unit("questions")] = 64
    """Questions that it computes together."""


class CallSettings(Settings):
    """What one call does otherwise than the writer of the experiment; None: as the writer."""

    engine: EngineName | str | None = None
    """Who answers."""
    model: str | None = None
    """Folder or hub id, or the endpoint's name of the model. Paper: Claude Sonnet 4.6 filters the instruction mix."""
    ask: Literal["chat", "completion"] | None = None
    """Whether it gets its prompt as a user's message, or as a text to go on from."""
    replay: str | None = None
    """Recorded answers."""
    temperature: Temperature | None = None
    """Sampling temperature; None: the call's own (1.0 where something is written, 0 where it is judged)."""
    top_p: Annotated[float, Field(gt=0, le=1), Unit("share")] | None = None
    """Share of the likeliest words that is sampled from."""
    max_tokens: Tokens | None = None
    """Longest answer; None: the call's own."""
    chat_template_kwargs: TemplateOptions | None = None
    """What its chats are rendered with."""
    url: str | None = None
    """Base address, for `engine: endpoint`."""
    key_variable: str | None = None
    """Name of the environment variable with the endpoint's keys."""
    requests_per_minute: PerMinute | None = None
    """Requests that begin in a minute with each key."""
    tokens_per_minute: PerMinute | None = None
    """Tokens a minute of each key."""
    batch: bool | None = None
    """Whether it is asked by the endpoint's Batch API."""
    prices: Prices | None = None
    """What its tokens cost."""
    tokens_per_second: Annotated[float, Field(gt=0), Unit("generated tokens a second")] | None = None
    """How fast it answers, for plan's hours."""

    @field_validator("engine")
    @classmethod
    def engine_exists(cls, engine: str | None) -> str | None:
        """As the writer's."""
        if engine is not None:
            check_engine(engine)
        return engine


class SharedWriter(CallSettings):
    """One of several writers of documents."""

    share: Annotated[float, Field(gt=0), Unit("parts")] = 1.0
    """How much of the documents it writes, beside the others' shares."""


class WriterSettings(WriterWhere, WrittenChatsWhere, WriterContent):
    """Who writes outline, documents and chats. Sections that write (`documents`) say only what differs."""

    inherited: ClassVar[tuple[str, ...]] = (*WriterContent.model_fields, *WriterWhere.model_fields)
    """What `documents` takes from here where it says nothing itself."""

    calls: dict[str, CallSettings] = {}
    """Per call of the method (domains, subdomains, assertions, types, ideas, questions, responses, filter, ...; `msm plan` lists
    them), what differs: a cheaper model for judging, another temperature."""
    spend_limit: Dollars | None = None
    """Dollars that all writing under this root may cost together; requests are held back before it could be passed. Needs
    `prices` of every writer behind an endpoint. None: no limit."""
