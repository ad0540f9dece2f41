"""What a card and a record tell of the documents that are kept: counts, which parts of a corpus have each for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Name = str | None
COUNTED = ("domain", "subdomain", "type", "generator", "prompt_version")


@dataclass
class Tally:
    """Documents, words and tokens of the writer, by what the rows say in a column."""

    documents: Counter[Name] = field(default_factory=Counter)
    words: Counter[Name] = field(default_factory=Counter)
    tokens: Counter[Name] = field(default_factory=Counter)

    def add(self, name: Name, words: int, tokens: int) -> None:
        """One more document."""
        self.documents[name] += 1
        self.words[name] += words
        self.tokens[name] += tokens

    def update(self, other: Tally) -> None:
        """Those of another part."""
        for own, more in ((self.documents, other.documents), (self.words, other.words), (self.tokens, other.tokens)):
            own.update(more)


@dataclass
class Summary:
    """words: of each document, in the order of ids; tokens: that the writer generated; by: column -> `Tally`; from_spec: whether
    any says which spec it was written from; samples: whole rows for the card.
    """

    words: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    tokens: int = 0
    by: dict[str, Tally] = field(default_factory=lambda: {column: Tally() for column in COUNTED})
    from_spec: bool = False
    samples: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Documents."""
        return len(self.words)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], samples: Iterable[Mapping[str, Any]] = ()) -> Summary:
        """Of rows with the columns COUNTED, `words`, `num_generated_tokens` and `spec_digest`."""
        found = cls(np.array([row["words"] for row in rows], np.int32), samples=list(samples))
        for row in rows:
            tokens = row["num_generated_tokens"] or 0
            found.tokens += tokens
            found.from_spec |= bool(row["spec_digest"])
            for column, tally in found.by.items():
                tally.add(row[column], row["words"], tokens)
        return found

    @classmethod
    def together(cls, parts: Sequence[Summary]) -> Summary:
        """Of parts, in the order of ids."""
        found = cls(np.concatenate([part.words for part in parts]) if parts else np.zeros(0, np.int32))
        for part in parts:
            found.tokens += part.tokens
            found.from_spec |= part.from_spec
            found.samples += part.samples
            for column, tally in found.by.items():
                tally.update(part.by[column])
        return found
