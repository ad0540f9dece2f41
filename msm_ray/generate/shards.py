"""Parquet shards that grow while a stage runs, and the ledger that they are: an id in a shard is done and never redone.

Each is written whole or not at all (`rows/tables.py`), under a name that no other writer has, and never again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from msm_ray.errors import StageError
from msm_ray.rows.journal import read_journal
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, RAW_SCHEMA, REJECTED_SCHEMA, Row
from msm_ray.rows.tables import clean, count_rows, unwritable, write_table
from msm_ray.storage import sizes

BUCKET_ROWS = 2048
"""Rows of a file in a bucket, where each is a request that is paid for; by `seconds` a slow stage is as safe as elsewhere."""

TAKEN = ".taken"
FIXED_ROWS = 256
"""Rows of a shard that is the same whenever it is made."""


class _Gone(StageError):
    """Somebody else has a journal."""


class GrowingTable:
    """Parquet files of one folder that grow: a next file when `rows` have come or `seconds` have passed since the last.

    What waits for its file stands in a journal at once, so that a kill takes back nothing that was answered (a power cut may).
    Each file has a journal of its own name: `.part-000003.jsonl` is what `part-000003.parquet` will hold. In a bucket there is
    none, and a kill costs what came in the last `seconds`.

    writer: sets the names of one of several writers of a folder apart. One that is alone takes up what was left before. guard:
    called before each file is begun; raises where the writer should not be there any more.
    """

    def __init__(
        self,
        folder: Path,
        schema: pa.Schema,
        rows: int = 256,
        seconds: float = 5.0,
        writer: str = "",
        guard: Callable[[], None] = lambda: None,
    ):
        self.guard = guard
        self.folder, self.schema, self.seconds = folder, schema, seconds
        self.rows = rows if isinstance(folder, Path) else max(rows, BUCKET_ROWS)
        self.waiting: list[Row] = []
        self.flushed = time.monotonic()
        if not writer:
            recover(folder, schema)
        self.stem, self.number = f"part-{writer}-" if writer else "part-", _next_number(folder)
        self.journal: TextIO | None = None

    @property
    def file(self) -> str:
        """The name of the file that the rows are waiting for."""
        return f"{self.stem}{self.number:06d}.parquet"

    def add(self, row: Row) -> None:
        """Take a row; from here on a kill does not take it back."""
        kept = {name: row.get(name) for name in self.schema.names}
        if not isinstance(self.folder, Path):  # nothing can be added to an object of a bucket
            self.waiting.append(kept)
            return
        try:
            self._note(json.dumps(kept) + "\n")
        except OSError as error:
            raise unwritable(self._journal_path(), error) from error
        self.waiting.append(kept)

    def _note(self, line: str) -> None:
        """Have a row stand in the journal."""
        if self.journal is None:
            self.guard()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.journal = self._journal_path().open("w", encoding="utf-8")
        self.journal.write(line)
        self.journal.flush()

    def due(self) -> bool:
        """Whether it is time to write."""
        late = bool(self.waiting) and time.monotonic() - self.flushed >= self.seconds
        return late or len(self.waiting) >= self.rows

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting and self.journal:
            try:
                self.journal.close()  # writes what a full disk did not take before
            except OSError as error:
                raise unwritable(self._journal_path(), error) from error
            _settle_journal(self._journal_path(), self.waiting, self.schema)
        elif self.waiting:
            self.guard()
            write_table(self.folder / self.file, self.waiting, self.schema)
        if self.waiting:
            self.waiting, self.journal = [], None
            self.number += 1
        self.flushed = time.monotonic()

    def _journal_path(self) -> Path:
        return self.folder / f".{self.stem}{self.number:06d}.jsonl"


def recover(folder: Path, schema: pa.Schema) -> None:
    """Have what killed writers left in their journals be in files of its own. Nobody else may be writing there."""
    if not isinstance(folder, Path):
        return
    for journal in sorted([*folder.glob(".part-*.jsonl"), *folder.glob(f".part-*{TAKEN}")]):
        with contextlib.suppress(_Gone):  # its writer was not dead after all, and has just finished
            _settle_journal(journal, read_journal(journal), schema)


def recover_documents(out: Path) -> None:
    """The same for all that several writers left below a stage's folder, and what they had not finished is removed."""
    clean(out)
    for name, schema in (("raw", RAW_SCHEMA), ("rejected", REJECTED_SCHEMA), ("data", DOCUMENT_SCHEMA)):
        recover(out / name, schema)


def _settle_journal(journal: Path, rows: list[Row], schema: pa.Schema) -> None:
    """Write the file of a journal, unless it is there, and end the journal.

    Whoever renames a journal has it: a writer that was thought dead finds it gone and writes nothing (StageError).
    """
    taken = journal.with_suffix(TAKEN)
    try:
        journal.replace(taken)
    except FileNotFoundError:
        raise _Gone(f"{journal}: another run has taken over what was being written there; this one ends") from None
    file = journal.with_name(journal.name.removeprefix(".")).with_suffix(".parquet")
    if rows and not file.exists():
        write_table(file, rows, schema)
    taken.unlink(missing_ok=True)


class GrowingShards:
    """Shards of sampled rows, in order of completion: flushed when `rows` have come or `seconds` have passed.

    Accepted rows go to `data/`, what the writer really answered to `raw/`, others to `rejected/`. A kill takes back nothing that
    was added.
    """

    def __init__(
        self,
        out: Path,
        rows: int = 256,
        seconds: float = 5.0,
        writer: str = "",
        guard: Callable[[], None] = lambda: None,
    ):
        if not writer:
            clean(out)
        how = (rows, seconds, writer, guard)
        self.accepted = GrowingTable(out / "data", DOCUMENT_SCHEMA, *how)
        self.rejected = GrowingTable(out / "rejected", REJECTED_SCHEMA, *how)
        self.raw = GrowingTable(out / "raw", RAW_SCHEMA, *how)

    def add(self, row: Row, position: int) -> None:
        """Take one finished row; a `reason` marks it as rejected. `position` plays no part here."""
        if row.get("reason"):
            self.rejected.add(row)
        else:
            self.raw.add(row)
            self.accepted.add(row)
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

    alone: nobody else writes there now, so that what a killed writer left can be removed.
    """

    def __init__(self, out: Path, positions: int, rows: int = FIXED_ROWS, alone: bool = True):
        self.out, self.positions, self.rows = out, positions, rows
        self.waiting: dict[int, dict[int, Row]] = {}
        self.written: dict[int, int] = {}
        """Rows of each shard that was looked at or written."""
        if alone:
            clean(out)
        self.there = frozenset(sizes(out)) if alone else None

    def done(self, position: int) -> bool:
        """Whether the shard of this position is written, with all the rows that it is to have."""
        shard = position // self.rows
        if shard not in self.written:
            self.written[shard] = self._rows_of(shard)
        return self.written[shard] >= self._wanted(shard)

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
        files = [self._path(folder, shard) for folder in ("data", "rejected")]
        written = [path for path in files if self._is_there(path)]
        return sum(map(count_rows, written)) if files[0] in written else 0

    def _is_there(self, path: Path) -> bool:
        """By one listing at the beginning, for whoever is alone."""
        return path.exists() if self.there is None else f"{path.parent.name}/{path.name}" in self.there

    def _path(self, folder: str, shard: int) -> Path:
        return self.out / folder / f"part-{shard:06d}.parquet"


def _next_number(folder: Path) -> int:
    return max((int(path.stem.rpartition("-")[2]) for path in folder.glob("part-*.parquet")), default=-1) + 1
