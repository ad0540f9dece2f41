"""Random rows of tables that may be too large to read whole."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from msm_ray.rows import tables


def sample_rows(files: Sequence[Path], count: int, rng: random.Random) -> list[dict[str, Any]]:
    """`count` different rows (all where there are fewer) of Parquet files; only files with a drawn row are read."""
    ends = list(accumulate(tables.count_rows(file) for file in files))
    total = ends[-1] if ends else 0
    drawn = rng.sample(range(total), min(count, total))
    rows: dict[int, dict[str, Any]] = {}
    for file, start, end in zip(files, [0, *ends], ends, strict=False):
        places = [place for place in drawn if start <= place < end]
        if places:
            taken = tables.read_table(file).take([place - start for place in places])
            rows |= dict(zip(places, taken.to_pylist(), strict=True))
    return [rows[place] for place in drawn]


def count_rows(files: Sequence[Path]) -> int:
    """Rows of Parquet files, from their footers."""
    return sum(map(tables.count_rows, files))


def columns_of(files: Sequence[Path]) -> list[str]:
    """The columns of Parquet files that are alike; none where there is no file."""
    return tables.columns_in(files[0]) if files else []


def count_values(files: Sequence[Path], column: str) -> Counter[str]:
    """How many rows have each value of a column, as text."""
    counts: Counter[str] = Counter()
    for file in files:
        for entry in tables.read_table(file, [column]).column(column).value_counts().to_pylist():
            counts[str(entry["values"])] += entry["counts"]
    return counts
