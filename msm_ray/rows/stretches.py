"""Folders of Parquet files cut into stretches of about one size, so that each can be read elsewhere, a few rows at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from msm_ray.errors import StageError

STRETCH = 64 * 2**20
"""Bytes of a stretch's column, before compression."""


@dataclass(frozen=True)
class Stretch:
    """Row groups of a file. source: the number that the reader gives the folder; size: bytes of the column that is read."""

    source: int
    file: Path
    groups: tuple[int, ...]
    rows: int
    size: int


def stretches(source: int, folder: Path, column: str, most: int = STRETCH) -> list[Stretch]:
    """The files of a folder of Parquet files (or of its `data` folder), cut between row groups; only their footers are read.

    Raises StageError without any file, or where one is damaged or has no such column beside `id`.
    """
    data = folder / "data" if (folder / "data").is_dir() else folder
    files = sorted(data.glob("*.parquet"))
    if not files:
        raise StageError(f"{data}: no Parquet file with id and {column} in it")
    return [stretch for file in files for stretch in stretches_of(source, file, column, most)]


def read_stretch(stretch: Stretch, column: str, rows: int) -> Iterator[pa.RecordBatch]:
    """`id` and the column, so many rows at a time: a row group of somebody else's file may be as large as the file.

    Raises StageError where the file can't be read.
    """
    with _named(stretch.file, column), stretch.file.open("rb") as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)  # buffered, it would hold a whole row group
        yield from file.iter_batches(rows, row_groups=list(stretch.groups), columns=["id", column])


def stretches_of(source: int, file: Path, column: str, most: int = STRETCH) -> list[Stretch]:
    """The same of one file."""
    with _named(file, column), file.open("rb") as stream:
        footer = pq.read_metadata(stream)
        if missing := {"id", column} - set(footer.schema.to_arrow_schema().names):
            raise KeyError(f"no {' and no '.join(sorted(missing))}")
    sizes = [_size(footer.row_group(n), column) for n in range(footer.num_row_groups)]
    rows = [footer.row_group(n).num_rows for n in range(footer.num_row_groups)]
    found, first = [], 0
    for end in range(1, len(sizes) + 1):
        if end == len(sizes) or sum(sizes[first : end + 1]) > most:
            groups = tuple(range(first, end))
            found.append(Stretch(source, file, groups, sum(rows[first:end]), sum(sizes[first:end])))
            first = end
    return found


def _size(group: Any, column: str) -> int:
    own = [group.column(n) for n in range(group.num_columns)]
    return sum(each.total_uncompressed_size for each in own if each.path_in_schema.split(".")[0] == column)


@contextlib.contextmanager
def _named(file: Path, column: str) -> Iterator[None]:
    """Inside, what is found wrong with a file is raised as a StageError that names it."""
    try:
        yield
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise StageError(f"{file}: cannot be read as Parquet with id and {column} ({error}); make it again") from None
