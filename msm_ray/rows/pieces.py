"""Pieces of a folder of Parquet files: the rows that one worker reads, several files or a part of a large one.

Whoever cuts them knows the ids and places of rows, and never their texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from msm_ray.errors import StageError
from msm_ray.rows.schemas import Row
from msm_ray.rows.tables import read_table


@dataclass(frozen=True)
class Part:
    """Rows of one file, from `start` to before `stop`."""

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Piece = tuple[Part, ...]
"""What one worker reads, one after the other."""


def read_ids(paths: Sequence[Path]) -> list[tuple[pa.StringArray, NDArray[np.uint64]]]:
    """The ids of each file, and their hashes, in the files' order. Raises StageError where one is damaged."""
    found = []
    for path in paths:
        column = _read(path, ["id"]).column("id").cast(pa.string())
        ids = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.string())
        found.append((ids, hashes(ids.to_pylist())))
    return found


def hashes(ids: Iterable[str]) -> NDArray[np.uint64]:
    """64 bits of a digest of each id: of ten million, two are alike once in 400,000 times."""
    return np.frombuffer(b"".join(blake2b(key.encode(), digest_size=8).digest() for key in ids), np.uint64)


def is_in(values: NDArray[np.uint64], those: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of some hashes are among others. those: ascending."""
    if not len(those):
        return np.zeros(len(values), np.bool_)
    places = np.searchsorted(those, values).astype(np.int32)
    return np.asarray(those[np.minimum(places, len(those) - 1, out=places)] == values)


def pieces(files: Sequence[tuple[Path, int, int]], most: int) -> list[Piece]:
    """Files as (path, rows, bytes), cut and put together in their order into pieces of about `most` bytes."""
    found: list[Piece] = []
    held: list[Part] = []
    room = float(most)
    for path, rows, size in files:
        for part in _parts(path, rows, max(1, round(rows * most / max(1, size)))):
            weight = size * len(part) / rows
            if held and weight > room:
                found.append(tuple(held))
                held, room = [], float(most)
            held.append(part)
            room -= weight
    return [*found, tuple(held)] if held else found


def read_piece(piece: Piece, schema: pa.Schema, absent: bool = True) -> pa.Table:
    """The rows of a piece as a table of these columns: others are left out. absent: columns that are not there are null.

    Raises StageError where a file is damaged, or has other types or, unless they may be absent, no such columns.
    """
    return pa.concat_tables([_conformed(part, schema, None if absent else schema.names) for part in piece])


def rows_with(folder: Path, ids: Sequence[str]) -> list[Row]:
    """The rows of a folder that have these ids, in the order of `ids`; only files with one of them are read whole."""
    wanted, found = pa.array(ids, pa.string()), []
    for path in sorted(folder.glob("*.parquet")):
        ((there, _),) = read_ids([path])
        places = pc.indices_nonzero(pc.is_in(there, value_set=wanted))
        if len(places):
            found += _read(path).take(places).to_pylist()
    order = {key: place for place, key in enumerate(ids)}
    return sorted(found, key=lambda row: order[row["id"]])


def _parts(path: Path, rows: int, each: int) -> Iterator[Part]:
    return (Part(path, start, min(rows, start + each)) for start in range(0, rows, each))


def _conformed(part: Part, schema: pa.Schema, columns: list[str] | None) -> pa.Table:
    table = _read(part.path, columns).slice(part.start, len(part))
    try:
        made = [
            table.column(field.name).cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        ]
    except pa.ArrowException as error:
        raise _damaged(part.path, error) from None
    return pa.table(made, schema=schema)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return read_table(path, columns)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> StageError:
    what = str(error).partition("\n")[0]
    return StageError(f"{path}: cannot be read as Parquet with ids and texts ({what}); make it again")
