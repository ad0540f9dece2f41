"""Tokenized texts on disk: files of at most so many tokens, each sorted by the hash of its rows' ids.

So the texts of a range of hashes are one slice of every part, and whoever packs them reads those slices and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray.corpus.packing import NUMBERS, Text
from msm_ray.rows.tables import Sink, write_by

BITS = 64
PART_SCHEMA = pa.schema(
    [
        ("hash", pa.uint64()),
        ("id", pa.large_string()),
        ("number", pa.uint32()),
        ("tokens", pa.uint32()),
        ("ids", NUMBERS),
        ("loss", NUMBERS),
    ]
)
"""A row a text, as `Text` has it; tokens: how many it has, so that nobody needs them to count them."""


def hash_of(id: str) -> int:
    """64 bits that depend on the row's id alone."""
    return int.from_bytes(hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=BITS // 8).digest(), "big")


def hashes_of(ids: Sequence[str]) -> NDArray[np.uint64]:
    """The same of many."""
    return np.array([hash_of(id) for id in ids], np.uint64)


def write_part(path: Path, texts: Sequence[Text]) -> None:
    """Write texts sorted by hash; whole or not at all."""
    hashes = hashes_of([text.id for text in texts])
    order = np.argsort(hashes, kind="stable")
    own = [texts[i] for i in order.tolist()]
    columns = {
        "hash": hashes[order],
        "id": [text.id for text in own],
        "number": [text.number for text in own],
        "tokens": [len(text.ids) for text in own],
        "ids": _lists([text.ids for text in own]),
        "loss": _lists([text.loss for text in own]),
    }
    write_arrow(path, pa.table(columns, schema=PART_SCHEMA))


def _lists(values: Sequence[np.ndarray]) -> pa.Array:
    borders = np.concatenate([[0], np.cumsum([len(each) for each in values], dtype=np.int64)])
    return pa.LargeListArray.from_arrays(pa.array(borders, pa.int64()), pa.array(np.concatenate(values), pa.uint32()))


@dataclass(frozen=True)
class Part:
    """A part that was written, memory-mapped. source: which folder its texts are from."""

    path: Path
    source: int

    @cached_property
    def table(self) -> pa.Table:
        """All of it; nothing is read before it is looked at."""
        return open_arrow(self.path)

    def texts_between(self, first: int, end: int, wanted: Callable[[int], bool]) -> list[tuple[int, Text]]:
        """Place and text of those with first <= hash < end whose place in the part is wanted."""
        hashes = column(self.table, "hash").to_numpy()
        low = int(np.searchsorted(hashes, np.uint64(first)))
        high = int(np.searchsorted(hashes, np.uint64(end))) if end < 1 << BITS else len(hashes)
        ids, loss = Lists(self.table, "ids"), Lists(self.table, "loss")
        names, numbers = column(self.table, "id"), column(self.table, "number")
        return [
            (i, Text(names[i].as_py(), ids[i], loss[i], numbers[i].as_py(), self.source))
            for i in range(low, high)
            if wanted(i)
        ]


class Lists:
    """A column of lists of numbers; one of them is a view of its bytes, and nothing is copied."""

    def __init__(self, table: pa.Table, name: str):
        lists = column(table, name)
        self.values, self.borders = lists.values.to_numpy(), lists.offsets.to_numpy()

    def __len__(self) -> int:
        return len(self.borders) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.borders[row] : self.borders[row + 1]]


def column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece, as it lies in a file of one batch."""
    chunks = table[name]
    return chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()


def open_arrow(path: Path) -> pa.Table:
    """A file that `write_arrow` wrote, memory-mapped; no file stays open. Raises OSError or pa.ArrowInvalid."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as one batch of an Arrow file, whole under its name or not at all.

    Raises StageError when it cannot be written.
    """

    def write(temporary: Sink) -> None:
        with pa.ipc.new_file(str(temporary) if isinstance(temporary, Path) else temporary, table.schema) as writer:
            writer.write_table(table.combine_chunks())

    write_by(path, write)
