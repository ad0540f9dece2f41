"""Packed blocks as they lie on disk: a file a range of ids, one number for every block over all of them, and `blocks.json`."""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from msm_ray.corpus.packing import BLOCK_SCHEMA
from msm_ray.corpus.parts import Lists, column, open_arrow
from msm_ray.corpus.tokens import NO_LOSS
from msm_ray.errors import StageError

FACTS, REJECTED = "blocks.json", "rejected.parquet"
FORMAT = 2
"""Of the files. 1 was one file, `blocks.arrow`, with 32-bit lists of tokens and of labels."""


@dataclass(frozen=True)
class Origin:
    """Where a piece of a block comes from. id: the row; source: its folder's number, what is mixed in comes last.

    offset: the first of its tokens in its text; tokens: how many these are.
    """

    id: str
    source: int
    offset: int
    tokens: int


@dataclass(frozen=True)
class Block:
    """One block, as views of the file. ids: its tokens. lengths: those of its pieces. loss: [runs, 2], begin and end of each."""

    ids: np.ndarray
    lengths: np.ndarray
    loss: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The token where it is trained on, else `NO_LOSS` (int64)."""
        labels = np.full(len(self.ids), NO_LOSS, np.int64)
        for begin, end in self.loss.tolist():
            labels[begin:end] = self.ids[begin:end]
        return labels


@dataclass(frozen=True)
class Blocks:
    """Blocks by their number, memory-mapped. tables: one a file (`packing.BLOCK_SCHEMA`); facts: the parsed `blocks.json`."""

    tables: Sequence[pa.Table]
    facts: dict[str, Any]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Block:
        columns, row = self._place(number)
        return Block(columns["input_ids"][row], columns["lengths"][row], columns["loss"][row].reshape(-1, 2))

    @cached_property
    def trained(self) -> np.ndarray:
        """How many tokens of each block are trained on."""
        counts = [column(table, "trained").to_numpy() for table in self.tables]
        return np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, np.int64)

    def origins(self, number: int) -> list[Origin]:
        """Where a block's pieces come from, in their order: so the blocks of a step lead to its documents."""
        columns, row = self._place(number)
        names = column(self.tables[self._table_of(number)], "ids")[row].as_py()
        numbers = (columns[name][row].tolist() for name in ("sources", "offsets", "lengths"))
        return [Origin(*each) for each in zip(names, *numbers, strict=True)]

    def rows_of(self, numbers: Sequence[int]) -> list[str]:
        """The rows (documents, chats) that some blocks hold pieces of, each once, in their order."""
        return list(dict.fromkeys(origin.id for number in numbers for origin in self.origins(number)))

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(table.num_rows for table in self.tables))

    @cached_property
    def _columns(self) -> list[dict[str, Lists]]:
        names = ("input_ids", "loss", "lengths", "offsets", "sources")
        return [{name: Lists(table, name) for name in names} for table in self.tables]

    def _table_of(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise IndexError(f"block {number} of {len(self)}")
        return bisect_right(self._ends, number)

    def _place(self, number: int) -> tuple[dict[str, Lists], int]:
        table = self._table_of(number)
        return self._columns[table], number - (self._ends[table] - self.tables[table].num_rows)


def named(rows: Sequence[str], most: int = 8) -> str:
    """Some rows by their ids, for a line: `a, b and 3 more`."""
    more = f" and {len(rows) - most:,} more" if len(rows) > most else ""
    return ", ".join(rows[:most]) + more


def read_blocks(folder: Path) -> Blocks:
    """Open a folder that `build_blocks` wrote; its blocks are read when they are asked for.

    Raises StageError, naming the file, when one is missing or corrupt, or an earlier version of the program wrote it.
    """
    facts = read_facts(folder)
    tables = []
    for told in facts["files"]:
        try:
            table = open_arrow(folder / told["file"])
        except (OSError, pa.ArrowInvalid) as error:
            raise _unreadable(folder, error) from None
        if table.schema != BLOCK_SCHEMA or table.num_rows != told["blocks"]:
            raise StageError(
                f"{folder / told['file']}: {table.num_rows} rows of {table.schema.names}, but {FACTS} tells of {told['blocks']} "
                "blocks; remove the folder to have them made again"
            )
        tables.append(table)
    return Blocks(tables, facts)


def read_facts(folder: Path) -> dict[str, Any]:
    """The parsed `blocks.json`. Raises StageError as `read_blocks` does."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from None
    if facts.get("format") != FORMAT:
        raise StageError(
            f"{folder}: blocks of format {facts.get('format', 1)}, which an earlier version of msm_ray wrote, and this one "
            f"reads format {FORMAT}: run the experiment to have them made again, or give another root=FOLDER"
        )
    return facts


def _unreadable(folder: Path, error: Exception) -> StageError:
    return StageError(f"{folder}: blocks cannot be read ({error}); remove the folder to have them made again")


def sample_texts(blocks: Blocks, count: int, rng: random.Random) -> Iterator[tuple[int, list[tuple[list[int], bool]]]]:
    """One text each of some blocks: the block's number, and runs of token ids with whether they carry loss."""
    for number in sorted(rng.sample(range(len(blocks)), min(count, len(blocks)))):
        block = blocks[number]
        which = rng.randrange(len(block.lengths))
        first = int(block.lengths[:which].sum())
        yield number, list(_runs(block, first, first + int(block.lengths[which])))


def _runs(block: Block, first: int, end: int) -> Iterator[tuple[list[int], bool]]:
    place = first
    for begin, stop in block.loss.tolist():
        if first <= begin < end:
            if place < begin:
                yield block.ids[place:begin].tolist(), False
            yield block.ids[begin:stop].tolist(), True
            place = stop
    if place < end:
        yield block.ids[place:end].tolist(), False
