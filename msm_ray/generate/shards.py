"""Parquet shards that grow while a stage runs, and the ledger that they are: an id in a shard is done and never redone.

One writer (the driver) writes them, each whole or not at all (`rows/tables.py`).
"""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa

from msm_ray.rows.schemas import DOCUMENT_SCHEMA, RAW_SCHEMA, REJECTED_SCHEMA, Row
from msm_ray.rows.tables import clean, count_rows, write_table


class GrowingTable:
    """Parquet files of one folder that grow: a next file when `rows` have come or `seconds` have passed since the last."""

    def __init__(self, folder: Path, schema: pa.Schema, rows: int = 256, seconds: float = 5.0):
        self.folder, self.schema, self.rows, self.seconds = folder, schema, rows, seconds
        self.waiting: list[Row] = []
        self.flushed = time.monotonic()

    def add(self, row: Row) -> None:
        """Take a row."""
        self.waiting.append(row)

    def due(self) -> bool:
        """Whether it is time to write."""
        late = bool(self.waiting) and time.monotonic() - self.flushed >= self.seconds
        return late or len(self.waiting) >= self.rows

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting:
            write_table(self.folder / f"part-{_next_number(self.folder):06d}.parquet", self.waiting, self.schema)
            self.waiting.clear()
        self.flushed = time.monotonic()


class GrowingShards:
    """Shards of sampled rows, in order of completion: flushed when `rows` have come or `seconds` have passed.

    Accepted rows go to `data/`, what the writer really answered to `raw/`, others to `rejected/`. What a kill can cost is what
    came since the last flush.
    """

    def __init__(self, out: Path, rows: int = 256, seconds: float = 5.0):
        self.accepted = GrowingTable(out / "data", DOCUMENT_SCHEMA, rows, seconds)
        self.rejected = GrowingTable(out / "rejected", REJECTED_SCHEMA, rows, seconds)
        self.raw = GrowingTable(out / "raw", RAW_SCHEMA, rows, seconds)
        clean(out)

    def add(self, row: Row, position: int) -> None:
        """Take one finished row; a `reason` marks it as rejected. `position` plays no part here."""
        if row.get("reason"):
            self.rejected.add(row)
        else:
            self.accepted.add(row)
            self.raw.add(row)
        self.tick()

    def tick(self) -> None:
        """Flush what is due; called also while nothing comes."""
        many = len(self.accepted.waiting) + len(self.rejected.waiting) >= self.accepted.rows
        if many or self.accepted.due() or self.rejected.due():
            self.flush()

    def flush(self) -> None:
        """Write what waits, the accepted rows last: they are what is never asked for again."""
        for table in (self.raw, self.rejected, self.accepted):
            table.flush()


class FixedShards:
    """Shards of rows that are the same whenever they are made (offline, replay): `rows` consecutive positions a shard.

    A shard is written when all its positions are there, so the files are byte for byte the same after any interruption. Where
    more positions are asked for than before, the last shard is made again, with the same rows and those that come after them.
    """

    def __init__(self, out: Path, positions: int, rows: int = 256):
        self.out, self.positions, self.rows = out, positions, rows
        self.waiting: dict[int, dict[int, Row]] = {}
        clean(out)
        self.written = {shard: self._rows_of(shard) for shard in range(-(-positions // rows))}

    def done(self, position: int) -> bool:
        """Whether the shard of this position is written, with all the rows that it is to have."""
        return self.written[position // self.rows] >= self._wanted(position // self.rows)

    def add(self, row: Row, position: int) -> None:
        """Take one finished row; writes its shard when that is complete."""
        shard = position // self.rows
        waiting = self.waiting.setdefault(shard, {})
        waiting[position] = row
        if len(waiting) == self._wanted(shard):
            self._write(shard, [waiting[place] for place in sorted(waiting)])
            del self.waiting[shard]

    def tick(self) -> None:
        """Nothing is due by time: a shard is written when it is complete."""

    def flush(self) -> None:
        """Nothing to write: incomplete shards are made again, for they cost nothing."""

    def _write(self, shard: int, rows: list[Row]) -> None:
        self.written[shard] = len(rows)
        # Rejected rows first: the data file is what marks a shard as done.
        rejected = [row for row in rows if row.get("reason")]
        if rejected:
            write_table(self._path("rejected", shard), rejected, REJECTED_SCHEMA)
        write_table(self._path("data", shard), [row for row in rows if not row.get("reason")], DOCUMENT_SCHEMA)

    def _wanted(self, shard: int) -> int:
        return min(self.rows, self.positions - shard * self.rows)

    def _rows_of(self, shard: int) -> int:
        """Rows of a shard that is written, accepted and rejected; the data file is what marks it as done."""
        if not self._path("data", shard).exists():
            return 0
        files = (self._path(folder, shard) for folder in ("data", "rejected"))
        return sum(count_rows(path) for path in files if path.exists())

    def _path(self, folder: str, shard: int) -> Path:
        return self.out / folder / f"part-{shard:06d}.parquet"


def _next_number(folder: Path) -> int:
    return max((int(path.stem.rpartition("-")[2]) for path in folder.glob("part-*.parquet")), default=-1) + 1
