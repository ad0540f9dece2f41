"""Rows read where they lie: by file and number, a row at a time, so that whoever needs all of them holds few.

What was read last is kept, since rows that are wanted one after the other mostly lie beside each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray.rows.ids import ID, Order
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_table

KEPT_BYTES = 64 * 2**20
"""What was read last, in memory: some 5,000 texts of 12 kB."""
NEIGHBORS, KEPT_NEIGHBORS = 16, 16
"""Rows that are made of a table at once, which takes little longer than one of them; and how many such lots are kept."""
Item = TypeVar("Item")


class Made(Sequence[Item]):
    """A sequence whose items are made each time that they are looked at, and not kept."""

    def __init__(self, count: int, make: Callable[[int], Item]):
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self._make(one) for one in range(self._count)[place]]
        return self._make(range(self._count)[place])

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, range(self._count))


class Files:
    """Parquet files of one folder. columns: those that rows are to have; None: all."""

    def __init__(self, folder: Path, columns: Sequence[str] | None = None):
        self.folder, self.columns = folder, tuple(columns) if columns else None
        self._kept: OrderedDict[str, pa.Table] = OrderedDict()
        self._bytes = 0
        self._neighbors = lru_cache(KEPT_NEIGHBORS)(self._read)

    def __reduce__(self) -> tuple[Any, ...]:
        return _sent, (self.folder, self.columns)

    def row(self, file: str, number: int) -> Row:
        """A row of a file, from 0. Nobody changes it: it may be given again."""
        return self._neighbors(file, number // NEIGHBORS)[number % NEIGHBORS]

    def _read(self, file: str, neighbors: int) -> list[Row]:
        return self._table(file).slice(neighbors * NEIGHBORS, NEIGHBORS).to_pylist()

    def _table(self, file: str) -> pa.Table:
        if file in self._kept:
            self._kept.move_to_end(file)
            return self._kept[file]
        table = self._kept[file] = read_table(self.folder / file, list(self.columns) if self.columns else None)
        self._bytes += table.nbytes
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return table


@lru_cache(4)
def _sent(folder: Path, columns: tuple[str, ...] | None) -> Files:
    """The files of a folder in a process that they were sent to: shared by all that were."""
    return Files(folder, columns)


class RowsInOrder(Made[Row]):
    """Rows of a folder by their places: each is in a file, so many rows from its beginning."""

    def __init__(self, read: Files, names: Sequence[str], files: NDArray[np.int32], numbers: NDArray[np.int32]):
        self.read, self.names, self.files, self.numbers = read, names, files, numbers
        super().__init__(len(files), self._row)

    def _row(self, place: int) -> Row:
        return self.read.row(self.names[self.files[place]], int(self.numbers[place]))

    def __reduce__(self) -> tuple[Any, ...]:
        return RowsInOrder, (self.read, self.names, self.files, self.numbers)

    def part(self, places: NDArray[np.int32]) -> RowsInOrder:
        """Some of them, to be sent to another process: no more than they need."""
        used, files = np.unique(self.files[places], return_inverse=True)
        names = [self.names[file] for file in used]
        return RowsInOrder(self.read, names, files.astype(np.int32), self.numbers[places])


def rows_in_order(folder: Path, ids: Iterable[str]) -> RowsInOrder:
    """The rows of a folder that have these ids, in their order, each read when it is looked at; an id may have none."""
    order = Order(_hashed(ids))
    names = sorted(path.name for path in folder.glob("*.parquet"))
    files, numbers = np.full(len(order.ids), -1, np.int32), np.zeros(len(order.ids), np.int32)
    for file, name in enumerate(names):
        places, wanted = order.find(_hashed(read_table(folder / name, ["id"]).column("id").to_pylist()))
        files[places[wanted]], numbers[places[wanted]] = file, np.flatnonzero(wanted)
    there = files >= 0
    return RowsInOrder(Files(folder), names, files[there], numbers[there])


def _hashed(ids: Iterable[str]) -> NDArray[np.bytes_]:
    """Ids of whatever form, in 12 bytes each."""
    return np.fromiter((blake2b(key.encode(), digest_size=ID.itemsize).digest() for key in ids), ID)
