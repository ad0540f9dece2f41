"""Parquet files of our own: each written whole under its name or not at all, and read back shard by shard.

A file is written to a temporary name that is renamed when it is whole, so after `kill -9` every file is whole or absent.
This needs a file system with atomic rename: local disks and NFS have it, object stores don't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from msm_ray.errors import StageError
from msm_ray.rows.schemas import Row
from msm_ray.whole_files import settle


def write_table(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    """Write rows as one Parquet file (zstd), whole or not at all. A row's other keys are left out, absent ones are null.

    Raises StageError when the file cannot be written: no room, no permission.
    """

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            if rows:  # an empty row group is one that `datasets` can't read
                file.write_table(pa.Table.from_pylist(rows, schema=schema))

    _whole(path, write)


def write_groups(path: Path, groups: Iterable[pa.Table], schema: pa.Schema) -> None:
    """The same of tables that come one after the other, each a row group of the file; those without a row are left out."""

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            for table in groups:
                if table.num_rows:
                    file.write_table(table.combine_chunks())

    _whole(path, write)


def write_own_table(path: Path, rows: list[Row], schema: pa.Schema | None = None) -> None:
    """The same for a table that is no data set for others: as pyarrow writes by itself (snappy).

    schema: None takes the columns and their types from the rows. Raises StageError as `write_table` does.
    """
    _whole(path, lambda temporary: pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary))


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        settle(temporary)
        temporary.replace(path)
        settle(path.parent)
    except OSError as error:
        raise StageError(
            f"{path} cannot be written: {error.strerror or error}. What was written before is safe; make room (or set another "
            "root=FOLDER) and give the same command again."
        ) from error


def read_rows(folder: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of every shard in `folder`, by shard name; none where there is no such folder."""
    for path in sorted(folder.glob("*.parquet")):
        yield from read_table_rows(path, columns)


def read_data(folder: Path, columns: list[str]) -> list[Row]:
    """The rows of a folder of Parquet files that have to be there. Raises StageError without any, or where one is damaged."""
    files, named = sorted(folder.glob("*.parquet")), " and ".join(columns)
    if not files:
        raise StageError(f"{folder}: no Parquet file with {named} in it")
    rows: list[Row] = []
    for file in files:
        try:
            rows += read_table_rows(file, columns)
        except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise StageError(f"{file}: cannot be read as Parquet with {named} ({error}); make it again") from None
    return rows


def read_table_rows(path: Path, columns: list[str] | None = None) -> list[Row]:
    """The rows of one file."""
    return read_table(path, columns).to_pylist()


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One file as an Arrow table, for what is counted by columns."""
    return pq.read_table(path, columns=columns)


def count_rows(path: Path) -> int:
    """How many rows a file has, without reading them."""
    return pq.read_metadata(path).num_rows


def clean(out: Path) -> None:
    """Remove temporary files that a killed writer left."""
    for folder in (out, out / "data", out / "rejected", out / "raw", out / "answers"):
        for path in folder.glob(".*.tmp"):
            path.unlink()
