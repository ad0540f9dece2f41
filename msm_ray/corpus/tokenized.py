"""What came of tokenizing, seen from the driver: ids and counts, what was rejected, and which texts are mixed in."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from msm_ray.corpus import mixing
from msm_ray.corpus.parts import Part, column
from msm_ray.corpus.spread import Note
from msm_ray.corpus.tokenizing import Tokenizing
from msm_ray.corpus.tokens_ahead import NONE_AHEAD, Taken
from msm_ray.errors import QualityGateError, StageError
from msm_ray.rows.stretches import Stretch

MOST_LOST = 0.5
"""Share of the chats of a folder that may be rejected; above it what is trained on is not what was made."""


@dataclass(frozen=True)
class Tokenized:
    """The notes of all stretches. folders: what was read; mains: how many of them are not mixed in; they come first.

    ahead: what was tokenized of the first of them before.
    """

    how: Tokenizing
    notes: Sequence[Note]
    folders: Sequence[Path]
    mains: int
    ahead: Taken = NONE_AHEAD

    @cached_property
    def parts(self) -> list[Part]:
        """All parts, in the order of their folders and files; those that were made ahead come first."""
        own = [Part(self.how.folder / name, at.source) for at, note in self._both() for name, *_ in note["parts"]]
        return [*(part for part, *_ in self.ahead.parts), *own]

    @cached_property
    def rejected(self) -> list[dict[str, Any]]:
        """Rows that can't be trained on: source, id and reason, by source and id."""
        rows = [
            {"source": at.source, "id": id, "reason": why} for at, note in self._both() for id, why in note["rejected"]
        ]
        rows += [{"source": 0, "id": id, "reason": why} for id, why in self.ahead.rejected]
        return sorted(rows, key=lambda row: (row["source"], row["id"]))

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were rejected for what."""
        return Counter(row["reason"].partition(":")[0] for row in self.rejected)

    def main(self) -> tuple[int, int]:
        """Texts and tokens of what is not mixed in. Raises StageError where there are none."""
        own = [part for at, note in self._both() if at.source < self.mains for part in note["parts"]]
        if not own and not self.ahead.texts:
            raise StageError(
                f"{', '.join(map(str, self.folders[: self.mains]))}: no {self.how.kind} left to train on (rejected: "
                f"{dict(self.reasons)})"
            )
        texts, tokens = sum(texts for _, texts, _ in own), sum(tokens for _, _, tokens in own)
        return texts + self.ahead.texts, tokens + self.ahead.tokens

    def tell(self) -> None:
        """Warn of what was rejected and of chats without reasoning. Raises QualityGateError where most chats are lost."""
        for source, folder in enumerate(self.folders if self.how.kind == "chats" else ()):
            rows = sum(at.rows for at, _ in self._both() if at.source == source)
            empty = sum(note["unreasoned"] for at, note in self._both() if at.source == source)
            if empty:
                warnings.warn(
                    f"{folder}: {empty:,} of {rows:,} chats have no reasoning, and reasoning is not switched off: arms "
                    "learn to leave it empty. Set `thinking: false` for these chats, or `chat_template_kwargs` for all",
                    stacklevel=3,
                )
            self._tell_lost(folder, source, rows)

    def _both(self) -> Iterator[tuple[Stretch, Note]]:
        return zip(self.how.stretches, self.notes, strict=True)

    def _tell_lost(self, folder: Path, source: int, rows: int) -> None:
        reasons = Counter(row["reason"] for row in self.rejected if row["source"] == source)
        lost = sum(reasons.values())
        if not lost:
            return
        said = (
            f"{folder}: {lost:,} of {rows:,} chats cannot be trained on ("
            + "; ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(5))
            + f"), blocks hold {self.how.settings.sequence_length} tokens"
        )
        if lost > MOST_LOST * rows:
            raise QualityGateError(f"{said}. Raise sequence_length, or mend the chats.")
        warnings.warn(said, stacklevel=4)

    def choose(self, seed: int) -> tuple[list[Path | None], int, int]:
        """What is packed: of each part None (all of it) or a file that says which; and how many texts and tokens these are.

        Of what is mixed in only ids and lengths are looked at. Raises SettingsError where there is too little of it.
        """
        texts, tokens = self.main()
        mixed = [part for part in self.parts if part.source >= self.mains]
        table = pa.concat_tables([part.table.select(["id", "number", "tokens"]) for part in mixed]) if mixed else None
        sizes = column(table, "tokens").to_numpy() if table else np.zeros(0, np.int64)
        order = _by_id(table) if table else np.zeros(0, np.int64)
        drawn = order[mixing.drawn(sizes[order].tolist(), tokens, self.how.settings.mix, seed)]
        place = np.full(len(sizes), -1, np.int64)
        place[drawn] = np.arange(len(drawn))
        files = {part.path: places for part, places, *_ in self.ahead.parts}
        for part in mixed:
            files[part.path] = part.path.with_suffix(".npy")
            rows = part.table.num_rows
            np.save(files[part.path], place[:rows])
            place = place[rows:]
        return [files.get(part.path) for part in self.parts], texts + len(drawn), tokens + int(sizes[drawn].sum())


def _by_id(table: pa.Table) -> np.ndarray:
    """The rows' places in the order of their ids, those of one id by their number."""
    by = [("id", "ascending"), ("number", "ascending")]
    return pc.sort_indices(table.select(["id", "number"]), sort_keys=by).to_numpy()
