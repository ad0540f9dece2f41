"""The documents that a corpus is made of, before anybody reads one: their ids in order, and which worker looks at which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from msm_ray.corpus.examining import Taken
from msm_ray.rows.pieces import hashes, is_in, pieces, read_ids
from msm_ray.rows.tables import read_rows
from msm_ray.workers import Workers

LEAST_PIECE, PIECE, MOST_PIECES = 2**20, 8 * 2**20, 512
"""Bytes of Parquet that a worker reads at once: 8 MiB, about 1,500 documents of 3,000 tokens; more where there would be more than
512 pieces, fewer, to 1 MiB, where there would be less than sixteen."""
FILES = 64
"""Whose ids are read together."""


@dataclass(frozen=True)
class Gathered:
    """ids: in their order, of equal ones as they were read; a document's rank is its place there. taken: who looks at which."""

    ids: pa.StringArray
    taken: list[Taken]


def files_in(documents: Path) -> list[Path]:
    """The files of rows of a documents folder, by their names."""
    return sorted((documents / "data").glob("*.parquet"))


def size_of(files: Iterable[Path]) -> int:
    """Bytes of some files."""
    return sum(path.stat().st_size for path in files)


def gather(files: Sequence[Path], taken: Iterable[str], workers: Workers) -> Gathered:
    """Those of the rows in `files` whose ids are taken. Raises StageError where a file is damaged."""
    ids, chosen, rows = _ids(files, taken, workers)
    order = pc.sort_indices(ids)
    ranks = np.empty(len(chosen), np.int32)
    ranks[order.to_numpy()] = np.arange(len(chosen), dtype=np.int32)
    ids = _one(ids.take(order))
    pa.default_memory_pool().release_unused()
    sizes = [path.stat().st_size for path in files]
    cut = pieces(list(zip(files, rows, sizes, strict=True)), _piece(sum(sizes)))
    ends = np.cumsum([0, *(sum(map(len, piece)) for piece in cut)])
    bounds = np.searchsorted(chosen, ends)
    given = [
        Taken(piece, (chosen[low:high] - start).astype(np.int32), ranks[low:high])
        for piece, start, low, high in zip(cut, ends[:-1], bounds[:-1], bounds[1:], strict=True)
        if high > low
    ]
    return Gathered(ids, given)


def _piece(size: int) -> int:
    return max(LEAST_PIECE, min(PIECE, size // 16), size // MOST_PIECES)


def never_written(documents: Path) -> Counter[str]:
    """Ideas that never became a document, by the last reason given."""
    done = {row["id"] for row in read_rows(documents / "data", ["id"])}
    last = {
        row["id"]: row["reason"] for row in read_rows(documents / "rejected", ["id", "reason"]) if row["id"] not in done
    }
    return Counter("not written: " + reason.partition(": ")[0] for reason in last.values())


def _ids(
    files: Sequence[Path], taken: Iterable[str], workers: Workers
) -> tuple[pa.ChunkedArray, NDArray[np.int32], list[int]]:
    """(ids of the rows that are taken, their places among all rows, rows of each file). Ids are compared by their hashes, which
    take a third of the room."""
    jobs = [(files[at : at + FILES],) for at in range(0, len(files), FILES)]
    read = dict(workers.each(read_ids, jobs))
    found = [each for number in range(len(jobs)) for each in read.pop(number)[0]]
    hashed = np.concatenate([each for _, each in found]) if found else np.zeros(0, np.uint64)
    chosen = np.flatnonzero(is_in(hashed, np.sort(_hashes(taken)))).astype(np.int32)
    ids = pa.chunked_array([ids for ids, _ in found], pa.string())
    rows = [len(ids) for ids, _ in found]
    return (ids if len(chosen) == len(ids) else ids.take(pa.array(chosen))), chosen, rows


def _hashes(taken: Iterable[str]) -> NDArray[np.uint64]:
    left = iter(taken)
    parts = [np.zeros(0, np.uint64)]
    while some := list(islice(left, 10_000)):
        parts.append(hashes(some))
    return np.concatenate(parts)


def _one(values: pa.ChunkedArray) -> pa.StringArray:
    whole = values.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
