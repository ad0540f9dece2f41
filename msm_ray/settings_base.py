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
        """The settings as plain values."""
        return self.model_dump(mode="json")


def is_where(section: type[BaseModel], name: str) -> bool:
    """Whether a setting of a section only says where or how fast, so that a change of it makes nothing stale."""
    return any(
        issubclass(base, Where) and not issubclass(base, Settings) and name in base.model_fields
        for base in section.__mro__
    )


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
