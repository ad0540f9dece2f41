"""Parquet files of our own: each written whole under its name or not at all, and read back shard by shard.

A file is written to a temporary name that is renamed when it is whole, so after `kill -9` every file is whole or absent. That
needs a file system with atomic rename, as local disks and NFS are. In a bucket a file is put by one request, which is whole or
nothing; what is read of it there is read at once where it is small, and by ranges where columns of a large one are asked for.
"""

from __future__ import annotations

import io
import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from msm_ray.errors import StageError
from msm_ray.rows.schemas import Row
from msm_ray.whole_files import settle

Sink = Path | io.BytesIO
SMALL_BYTES = 4 * 2**20
"""Files of a bucket up to this size are brought whole: a request more takes longer than the bytes that it would save."""
FOOTER_BYTES = 64 * 2**10
AHEAD = 4
"""Files of a bucket that are fetched beside the one that is worked on."""


def write_table(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    """Write rows as one Parquet file (zstd), whole or not at all. A row's other keys are left out, absent ones are null.

    Raises StageError when the file cannot be written: no room, no permission.
    """

    def write(temporary: Sink) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            if rows:  # an empty row group is one that `datasets` can't read
                file.write_table(pa.Table.from_pylist(rows, schema=schema))

    write_by(path, write)


def write_groups(path: Path, groups: Iterable[pa.Table], schema: pa.Schema) -> None:
    """The same of tables that come one after the other, each a row group of the file; those without a row are left out."""

    def write(temporary: Sink) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            for table in groups:
                if table.num_rows:
                    file.write_table(table.combine_chunks())

    write_by(path, write)


def write_own_table(path: Path, rows: list[Row], schema: pa.Schema | None = None) -> None:
    """The same for a table that is no data set for others: as pyarrow writes by itself (snappy).

    schema: None takes the columns and their types from the rows. Raises StageError as `write_table` does.
    """
    write_by(path, lambda temporary: pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary))


def write_by(path: Path, write: Callable[[Sink], None]) -> None:
    """Have a file of a table's written whole under its name or not at all. write: is given where it is written to.

    What is not whole yet has a name that no other process uses: two may write the same file, with the same bytes, at the same
    time.
    Raises StageError when the file cannot be written: no room, no permission.
    """
    if not isinstance(path, Path):  # in a bucket, whose errors say themselves what to do
        buffer = io.BytesIO()
        write(buffer)
        path.write_bytes(buffer.getbuffer())
        return
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        settle(temporary)
        temporary.replace(path)
        settle(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StageError:
    """What is said where a file of rows cannot be written: no room, no permission."""
    return StageError(
        f"{path} cannot be written: {error.strerror or error}. What was written before is safe; make room (or set another "
        "root=FOLDER) and give the same command again."
    )


def read_rows(folder: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of every shard in `folder`, by shard name; none where there is no such folder."""
    for table in read_tables(folder, columns):
        yield from table.to_pylist()


def read_tables(folder: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Every shard in `folder` as an Arrow table, by shard name. From a bucket the next ones are on their way meanwhile."""
    paths = sorted(folder.glob("*.parquet"))
    if isinstance(folder, Path):
        yield from (read_table(path, columns) for path in paths)
        return
    with ThreadPoolExecutor(AHEAD) as pool:
        coming = deque(pool.submit(read_table, path, columns) for path in paths[:AHEAD])
        for path in [*paths[AHEAD:], *[None] * len(coming)]:
            table = coming.popleft().result()
            if path is not None:
                coming.append(pool.submit(read_table, path, columns))
            yield table


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
    if isinstance(path, Path):
        return pq.read_table(path, columns=columns)
    if columns is None or path.stat().st_size <= SMALL_BYTES:
        return pq.read_table(pa.BufferReader(path.read_bytes()), columns=columns)
    with path.open("rb", block_size=SMALL_BYTES) as file:
        return pq.read_table(file, columns=columns, pre_buffer=True)


def count_rows(path: Path) -> int:
    """How many rows a file has, without reading them."""
    return _footer(path).num_rows


def columns_in(path: Path) -> list[str]:
    """The names of a file's columns."""
    return _footer(path).schema.to_arrow_schema().names


def _footer(path: Path) -> pq.FileMetaData:
    if isinstance(path, Path):
        return pq.read_metadata(path)
    with path.open("rb", block_size=FOOTER_BYTES, cache_type="bytes") as file:
        return pq.read_metadata(file)


def clean(out: Path) -> None:
    """Remove temporary files that a killed writer left."""
    if not isinstance(out, Path):
        return  # a bucket has none
    for folder in (out, out / "data", out / "rejected", out / "raw", out / "answers"):
        for path in folder.glob(".*.tmp"):
            path.unlink()
