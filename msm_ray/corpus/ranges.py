"""Tokenized texts to blocks, a range of hashes a piece: what a worker packs holds one range and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from msm_ray.corpus import packing
from msm_ray.corpus.packing import Text
from msm_ray.corpus.parts import BITS, Part, write_arrow
from msm_ray.corpus.spread import Note
from msm_ray.errors import StageError
from msm_ray.graph.artifacts import file_digest

RANGE = 16_000_000
"""Tokens of a range, at most and about; it decides which texts can share a block, so it belongs to the content version."""


def ranges_for(tokens: int, most: int = RANGE) -> int:
    """How many ranges so many tokens are packed in: a power of two, so that a range is the first bits of a hash."""
    return 1 << max(0, -(-tokens // most) - 1).bit_length()


@dataclass(frozen=True)
class Packing:
    """The work of packing, a range a piece (`spread.Work`).

    out: for blocks; parts, chosen: what was tokenized, and of each part the place of each of its texts in the order of packing,
    -1 for one that is left out (a file of `Tokenized.choose`), or None for all, by their ids.
    """

    folder: Path
    out: Path
    parts: tuple[Part, ...]
    chosen: tuple[Path | None, ...]
    count: int
    sequence_length: int
    split: bool

    def note(self, number: int) -> Path:
        """What is known of a range: how many blocks, texts and tokens it has, and its file's digest."""
        return self.folder / f"range-{number:06d}.json"

    def do(self, number: int) -> Note:
        """Write the blocks of a range. Returns file, digest, blocks, texts, tokens, trained and the highest token id."""
        file = self.out / f"blocks-{number:05d}-of-{self.count:05d}.arrow"
        try:
            texts = self._texts(number)
        except (OSError, pa.ArrowInvalid) as error:
            raise StageError(
                f"{self.folder}: what was tokenized cannot be read ({error}); remove {self.out} to have it made again"
            ) from None
        table = packing.pack(texts, self.sequence_length, split=self.split)
        write_arrow(file, table)
        tokens = table["input_ids"].chunk(0).values if table.num_rows else None
        return {
            "file": file.name,
            "digest": file_digest(file),
            "blocks": table.num_rows,
            "texts": len(texts),
            "tokens": 0 if tokens is None else len(tokens),
            "trained": pc.sum(table["trained"]).as_py() or 0,
            "highest": 0 if tokens is None else pc.max(tokens).as_py(),
        }

    def _texts(self, number: int) -> list[Text]:
        """The texts of a range: those of each folder by their ids, then what is mixed in as it was drawn."""
        width = BITS - (self.count.bit_length() - 1)
        between = number << width, (number + 1) << width
        found: list[tuple[tuple[int, int, str, int], Text]] = []
        for part, path in zip(self.parts, self.chosen, strict=True):
            order = None if path is None else np.load(path, mmap_mode="r")
            for place, text in part.texts_between(*between, _wanted(order)):
                drawn = 0 if order is None else int(order[place])
                found.append(((text.source, drawn, text.id, text.number), text))
        return [text for _, text in sorted(found, key=lambda each: each[0])]


def _wanted(order: np.ndarray | None) -> Callable[[int], bool]:
    return lambda place: order is None or bool(order[place] >= 0)
