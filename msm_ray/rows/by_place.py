"""Rows read where they lie: by file and number, a row at a time, so that whoever needs all of them holds few.

What was read last is kept, since rows that are wanted one after the other mostly lie beside each other.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, overload

import pyarrow as pa

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
        self.folder, self.columns = folder, list(columns) if columns else None
        self._kept: OrderedDict[str, pa.Table] = OrderedDict()
        self._bytes = 0
        self._neighbors = lru_cache(KEPT_NEIGHBORS)(self._read)

    def row(self, file: str, number: int) -> Row:
        """A row of a file, from 0. Nobody changes it: it may be given again."""
        return self._neighbors(file, number // NEIGHBORS)[number % NEIGHBORS]

    def _read(self, file: str, neighbors: int) -> list[Row]:
        return self._table(file).slice(neighbors * NEIGHBORS, NEIGHBORS).to_pylist()

    def _table(self, file: str) -> pa.Table:
        if file in self._kept:
            self._kept.move_to_end(file)
            return self._kept[file]
        table = self._kept[file] = read_table(self.folder / file, self.columns)
        self._bytes += table.nbytes
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return table


def rows_in_order(folder: Path, ids: Iterable[str]) -> Made[Row]:
    """The rows of a folder that have these ids, in their order, each read when it is looked at; an id may have none."""
    order = {key: place for place, key in enumerate(ids)}
    names = sorted(path.name for path in folder.glob("*.parquet"))
    files, numbers = array("q", [-1]) * len(order), array("q", [-1]) * len(order)
    for file, name in enumerate(names):
        for number, key in enumerate(read_table(folder / name, ["id"]).column("id").to_pylist()):
            if (place := order.get(key)) is not None:
                files[place], numbers[place] = file, number
    there = array("q", (place for place in range(len(order)) if files[place] >= 0))
    read = Files(folder)
    return Made(len(there), lambda place: read.row(names[files[there[place]]], numbers[there[place]]))
