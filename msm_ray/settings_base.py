"""What every setting is made of: strict and frozen classes, and numbers with a unit.

The text beneath a setting says what it means and, after `Paper:`, what the paper has (arXiv 2605.02087). `msm settings` and
docs/reference/settings.md are made from these texts (`reference.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Frozen, and strict about keys: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Where(Strict):
    """Settings that only decide where and how fast something is made: part of no identity, and out of reach of what is one.

    A section of the experiment file that has both inherits both, content last, so that it comes first:
    `class DocumentSettings(DocumentWhere, DocumentContent)`. Reading splits them again (`part`).
    """


Part = TypeVar("Part", bound=Strict)


def part(settings: Strict, kind: type[Part]) -> Part:
    """The settings of one class that a section inherits: what a stage is, or where and how fast it is made."""
    own = {name: getattr(settings, name) for name in kind.model_fields}
    return kind.model_construct(**own)  # type: ignore[return-value]  # pydantic's plugin says Strict


class Settings(Strict):
    """Settings that may decide what is made."""

    def content(self) -> dict[str, Any]:
        """The settings that decide what is made, ready for a fingerprint (see `NOT_CONTENT`)."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in NOT_CONTENT}


NOT_CONTENT = frozenset(
    {
        "micro_batch",
        "most_epochs",
        "zero_stage",
        "offload_optimizer",
        "activation_checkpointing",
        "checkpoint_every",
        "batch_size",
        "in_flight",
        "log_every",
        "no_progress_minutes",
        "request_seconds",
        "request_tries",
    }
)
"""Keys that change how fast a stage runs, how often it saves or what is refused, never what it makes."""


@dataclass(frozen=True)
class Unit:
    """What a number counts, as the reference tells it."""

    name: str


Share = Annotated[float, Field(ge=0, le=1), Unit("share")]
Tokens = Annotated[int, Field(gt=0), Unit("tokens")]
Steps = Annotated[int, Field(gt=0), Unit("optimizer steps")]
Blocks = Annotated[int, Field(gt=0), Unit("packed blocks")]
Rows = Annotated[int, Field(gt=0), Unit("rows")]
Requests = Annotated[int, Field(gt=0), Unit("requests")]
Tries = Annotated[int, Field(gt=0), Unit("tries")]
Seconds = Annotated[float, Field(gt=0), Unit("s")]
Minutes = Annotated[float, Field(gt=0), Unit("min")]
GiB = Annotated[float, Field(gt=0), Unit("GiB")]
Count = Annotated[int, Field(gt=0)]
Temperature = Annotated[float, Field(ge=0)]
LearningRate = Annotated[float, Field(gt=0), Unit("per step")]
