"""Parquet files of our own: each written whole under its name or not at all, and read back shard by shard.

A file is written to a temporary name that is renamed when it is whole, so after `kill -9` every file is whole or absent.
This needs a file system with atomic rename: local disks and NFS have it, object stores don't.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from msm_ray.artifacts import settle
from msm_ray.errors import StageError
from msm_ray.rows.schemas import Row


def write_table(path: Path, rows: list[Row], schema: pa.Schema) -> None:
    """Write rows as one Parquet file (zstd), whole or not at all. A row's other keys are left out, absent ones are null.

    Raises StageError when the file cannot be written: no room, no permission.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            if rows:  # an empty row group is one that `datasets` can't read
                file.write_table(pa.Table.from_pylist(rows, schema=schema))
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
        yield from pq.read_table(path, columns=columns).to_pylist()


def clean(out: Path) -> None:
    """Remove temporary files that a killed writer left."""
    for folder in (out, out / "data", out / "rejected"):
        for path in folder.glob(".*.tmp"):
            path.unlink()
