"""A writer as it is asked: settings with everything resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from msm_ray.engines import EngineSettings
from msm_ray.generate.writer_settings import WriterContent, WriterWhere
from msm_ray.settings_base import Settings


class Who(Settings):
    """Who answers, and how it is sampled: part of what is written. temperature, top_p, max_tokens: None: as the call says."""

    engine: str
    model: str | None = None
    ask: str = "chat"
    replay: str | None = None
    seed: int = 0
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @classmethod
    def of(cls, content: WriterContent) -> Self:
        """The writer that a section of an experiment file names, sampled as it says."""
        sampling = content.sampling.model_dump()
        own = {name: getattr(content, name) for name in ("engine", "model", "ask", "replay", "chat_template_kwargs")}
        return cls(**own, **sampling)

    def rendered_with(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The template's options of its chats. options: the experiment's, which only weights that are asked here have too."""
        if self.ask != "chat":
            return {}
        if self.chat_template_kwargs is not None:
            return self.chat_template_kwargs
        return options if self.engine == "vllm" else {}


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who answers. model: weights (folder or hub id) or the endpoint's model; share: of what several write, beside the others'.

    chat_template_kwargs: the experiment's, with which a writer that chats is asked. section: of the file, for errors.
    """

    who: Who
    where: WriterWhere
    model: str = ""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    section: str = "writer"

    @property
    def generator(self) -> str:
        """What it is called in what it wrote."""
        return self.engine().generator

    def engine(self, *, structured: bool = False, recorded: tuple[str, ...] = ()) -> EngineSettings:
        """Who is asked, and how.

        structured: answers keep to JSON schemas; recorded: columns that a recording may say otherwise than the row.
        """
        who, where = self.who, self.where
        return EngineSettings(
            engine=who.engine,
            model=self.model,
            chat=who.ask == "chat",
            chat_template_kwargs=tuple(self.chat_template_kwargs.items()),
            structured=structured,
            seed=who.seed,
            url=where.url,
            key_variable=where.key_variable,
            replay=who.replay,
            recorded=recorded,
            batch_size=where.batch_size,
            in_flight=where.in_flight,
            request_seconds=where.request_seconds,
            request_tries=where.request_tries,
            requests_per_minute=where.requests_per_minute,
            tokens_per_minute=where.tokens_per_minute,
            batch=where.batch and who.engine == "endpoint",
            batch_requests=where.batch_requests,
            batch_gather_seconds=where.batch_gather_seconds,
            batch_poll_seconds=where.batch_poll_seconds,
            prices=(where.prices.input, where.prices.output) if where.prices else None,
            section=self.section,
        )
