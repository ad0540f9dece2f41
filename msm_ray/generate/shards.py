"""Parquet shards that grow while a stage runs, and the ledger that they are: an id in a shard is done and never redone.

One writer (the driver) writes them, each to a temporary name that is renamed when it is whole, so after `kill -9` every
shard is whole or absent. This needs a file system with atomic rename: local disks and NFS have it, object stores don't.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from msm_ray.artifacts import settle
from msm_ray.errors import StageError

Row = dict[str, Any]

DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("spec", pa.string()),
        ("spec_digest", pa.string()),
        ("domain", pa.string()),
        ("subdomain", pa.string()),
        ("type", pa.string()),
        ("idea", pa.string()),
        ("engine", pa.string()),
        ("generator", pa.string()),
        ("prompt_version", pa.string()),
        ("temperature", pa.float64()),
        ("attempt", pa.int64()),
        ("num_input_tokens", pa.int64()),
        ("num_generated_tokens", pa.int64()),
    ]
)
REJECTED_SCHEMA = DOCUMENT_SCHEMA.append(pa.field("reason", pa.string())).append(pa.field("raw", pa.string()))
CHAT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("source", pa.string()),
        ("topic", pa.string()),
    ]
)
REJECTED_CHAT_SCHEMA = CHAT_SCHEMA.append(pa.field("reason", pa.string()))


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


class GrowingShards:
    """Shards of sampled rows, in order of completion: flushed when `rows` have come or `seconds` have passed.

    Accepted rows go to `data/`, others to `rejected/`. What a kill can cost is what came since the last flush.
    """

    def __init__(self, out: Path, rows: int = 256, seconds: float = 5.0):
        self.out, self.rows, self.seconds = out, rows, seconds
        self.accepted: list[Row] = []
        self.rejected: list[Row] = []
        self.flushed = time.monotonic()
        clean(out)

    def add(self, row: Row, position: int) -> None:
        """Take one finished row; a `reason` marks it as rejected. `position` plays no part here."""
        (self.rejected if row.get("reason") else self.accepted).append(row)
        self.tick()

    def tick(self) -> None:
        """Flush what is due; called also while nothing comes."""
        waiting = len(self.accepted) + len(self.rejected)
        if waiting >= self.rows or (waiting and time.monotonic() - self.flushed >= self.seconds):
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for folder, rows, schema in (
            (self.out / "data", self.accepted, DOCUMENT_SCHEMA),
            (self.out / "rejected", self.rejected, REJECTED_SCHEMA),
        ):
            if rows:
                write_table(folder / f"part-{_next_number(folder):06d}.parquet", rows, schema)
                rows.clear()
        self.flushed = time.monotonic()


class FixedShards:
    """Shards of rows that are the same whenever they are made (offline, replay): `rows` consecutive positions a shard.

    A shard is written when all its positions are there, so the files are byte for byte the same after any interruption.
    """

    def __init__(self, out: Path, positions: int, rows: int = 256):
        self.out, self.positions, self.rows = out, positions, rows
        self.waiting: dict[int, dict[int, Row]] = {}
        clean(out)

    def done(self, position: int) -> bool:
        """Whether the shard of this position is written."""
        return self._path("data", position // self.rows).exists()

    def add(self, row: Row, position: int) -> None:
        """Take one finished row; writes its shard when that is complete."""
        shard = position // self.rows
        waiting = self.waiting.setdefault(shard, {})
        waiting[position] = row
        if len(waiting) == min(self.rows, self.positions - shard * self.rows):
            self._write(shard, [waiting[place] for place in sorted(waiting)])
            del self.waiting[shard]

    def tick(self) -> None:
        """Nothing is due by time: a shard is written when it is complete."""

    def flush(self) -> None:
        """Nothing to write: incomplete shards are made again, for they cost nothing."""

    def _write(self, shard: int, rows: list[Row]) -> None:
        # Rejected rows first: the data file is what marks a shard as done.
        rejected = [row for row in rows if row.get("reason")]
        if rejected:
            write_table(self._path("rejected", shard), rejected, REJECTED_SCHEMA)
        write_table(self._path("data", shard), [row for row in rows if not row.get("reason")], DOCUMENT_SCHEMA)

    def _path(self, folder: str, shard: int) -> Path:
        return self.out / folder / f"part-{shard:06d}.parquet"


def clean(out: Path) -> None:
    """Remove temporary files that a killed writer left."""
    for folder in (out, out / "data", out / "rejected"):
        for path in folder.glob(".*.tmp"):
            path.unlink()


def _next_number(folder: Path) -> int:
    return max((int(path.stem.rpartition("-")[2]) for path in folder.glob("part-*.parquet")), default=-1) + 1
