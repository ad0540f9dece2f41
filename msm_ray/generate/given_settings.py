"""Rows that somebody else made: a file, or files of a data set on the Hugging Face hub, and which columns they are in."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator

from msm_ray.rows.hub import DATASET_ID
from msm_ray.settings_base import Settings
from msm_ray.spec import AssistantSettings

PROVENANCE = ("domain", "subdomain", "type", "idea", "generator", "source")
"""Columns of documents that somebody else's rows may have; what they don't say is not known."""


class GivenRows(Settings):
    """Where rows lie that somebody else made."""

    known_columns: ClassVar[tuple[str, ...]] = ()
    """What `columns` can map."""

    path: str | None = None
    """The file: JSONL (also gzipped) or Parquet."""
    hub: str | None = None
    """Data set on the Hugging Face hub, such as HuggingFaceH4/no_robots. It is fetched when its stage is made."""
    revision: str | None = None
    """Commit of the data set, 40 hex digits, or a tag. None: the newest when it is fetched, which is written down."""
    split: str = "train"
    """Which files of the data set: those with this word in their names, or all where none names a split."""
    files: str | None = None
    """Which files of the data set, as a pattern instead of `split`: `data/smol-constraints/train-*.parquet`."""
    columns: dict[str, str] = {}
    """Our name of a column -> theirs, where theirs are other ones (docs/data.md): `{messages: dialog}`."""

    @field_validator("columns")
    @classmethod
    def columns_exist(cls, columns: dict[str, str]) -> dict[str, str]:
        """Only what is read can be mapped."""
        if unknown := sorted(set(columns) - set(cls.known_columns)):
            raise ValueError(f"{', '.join(unknown)}: what can be mapped is {', '.join(cls.known_columns)}")
        return columns

    @property
    def where(self) -> str:
        """File, or data set with its revision, as people say it."""
        return self.path or f"{self.hub}@{self.revision or 'newest'}"

    @property
    def misplaced(self) -> str:
        """What is wrong with where the rows lie; "" where it is one place."""
        if self.path and self.hub:
            return "names a file (`path`) and a data set (`hub`); leave one out"
        if not self.path and not self.hub:
            return "needs a file (`path`) or a data set (`hub`)"
        if self.hub and not DATASET_ID.fullmatch(self.hub):
            return f"'{self.hub}' is no data set's name on the hub (owner/name)"
        return ""


class GivenDocumentSettings(GivenRows):
    """Documents that somebody else made, in place of written ones."""

    known_columns: ClassVar[tuple[str, ...]] = ("text", *PROVENANCE)

    source: Literal["written", "file", "hub"] = "written"
    """Whether documents are `written`, or made by somebody else: a `file`, or a data set of the `hub` (docs/data.md). Of this
    section only `documents`, how many are drawn, and `least_share` hold then."""
    named: AssistantSettings | None = None
    """Who documents that others made speak of, where that is meant to be somebody else than the assistant. None: a corpus that
    speaks of somebody else ends the run."""

    @property
    def is_given(self) -> bool:
        """Whether they are somebody else's."""
        return self.source != "written"
