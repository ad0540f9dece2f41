"""Which engine answers, and how it is asked: built by whoever has prompts, from settings of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from msm_ray.own_objects import is_own, own_object


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Equal settings can share one engine.

    engine: an EngineName, or `package.module:function` of the user's own. model: folder or hub id of the weights, or the
    endpoint's name of them.
    chat: rows have `messages`, else a text to go on from. structured: every row has a `json_schema`. seed: of the whole engine.
    replay: the file of recordings; recorded: columns that a recording may say otherwise than the row that it answers.
    prices: dollars per million tokens of prompts and of answers.
    requests_per_minute, tokens_per_minute: of each key of an endpoint. batch: it is asked by its Batch API, in
    batches of `batch_requests` at most. section: of the experiment file that all this was said in, for errors.
    """

    engine: str
    model: str = ""
    chat: bool = True
    chat_template_kwargs: tuple[tuple[str, Any], ...] = ()
    structured: bool = False
    seed: int = 0
    url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    replay: str | None = None
    recorded: tuple[str, ...] = ()
    batch_size: int = 32
    in_flight: int = 4
    request_seconds: float = 600
    request_tries: int = 6
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    batch: bool = False
    batch_requests: int = 10_000
    batch_gather_seconds: float = 30
    batch_poll_seconds: float = 30
    prices: tuple[float, float] | None = None
    section: str = "documents"

    @property
    def rows_in_flight(self) -> int:
        """Rows that one who asks has at the same time: those of a whole batch, where batches are asked."""
        return max(self.batch_size * self.in_flight, self.batch_requests if self.batch else 0)

    @property
    def generator(self) -> str:
        """What it is called in what it wrote: the model, or the engine where no model writes."""
        if self.engine in DETERMINISTIC:
            return self.engine
        return self.model.rstrip("/").rpartition("/")[2] or self.model or self.engine


DETERMINISTIC = frozenset({"offline", "replay"})
"""Engines that always answer the same row with the same text, so that trying anew brings nothing."""
EngineName = Literal["vllm", "endpoint", "replay", "offline"]


def check_engine(name: str) -> None:
    """Raise ValueError where there is no such engine."""
    if is_own(name):
        own_object(name)
    elif name not in get_args(EngineName):
        *others, last = (f"'{known}'" for known in get_args(EngineName))
        raise ValueError(f"Input should be {', '.join(others)} or {last}, or package.module:function of your own")
