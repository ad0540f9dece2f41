"""Stages that grow: accepted rows with places that never change, and readers that take the first so many.

Such a stage leaves `places.txt`: a line for each accepted row, its id and the digest of all that it holds, in an order that is
only added to. A reader takes the first n; what it was made from is those n lines. So a stage that goes on, or a row that is
accepted late, makes no reader stale; a stage whose cap is lowered deletes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from msm_ray.whole_files import write_whole

PLACES = "places.txt"
FIRST = "the first"


@dataclass(frozen=True)
class Head:
    """What a reader takes of a stage that grows: at most `count` rows of what lies in a folder."""

    folder: Path
    count: int

    def digest(self) -> str:
        """What it is made from now: `the first 98: <sha256>`; so many as there are, at most `count`."""
        return _digest(islice(_lines(self.folder), self.count))

    def is_still(self, recorded: str | None) -> bool:
        """Whether what a reader was made from is still what the first rows are, however many came after them."""
        count = counted(recorded)
        return count is not None and count <= self.count and _digest(islice(_lines(self.folder), count)) == recorded


def counted(recorded: str | None) -> int | None:
    """How many rows a recorded head has; None for the digest of a whole artifact."""
    words = (recorded or "").removesuffix(":").split(" ")
    return int(words[2].rstrip(":")) if (recorded or "").startswith(FIRST) else None


def _digest(lines: Iterable[str]) -> str:
    count, found = 0, hashlib.sha256()
    for count, line in enumerate(lines, 1):  # noqa: B007  the last is how many there are
        found.update(line.encode())
    return f"{FIRST} {count}: {found.hexdigest()}"


def _lines(folder: Path) -> Iterator[str]:
    """The lines of a stage that grows, one by one: of millions of rows they are not held all at once."""
    file = folder / PLACES
    if file.is_file():
        with file.open(encoding="utf-8") as lines:
            yield from lines


def places(folder: Path) -> list[str]:
    """The lines of a stage that grows, in order; none where it has given no row yet."""
    return list(_lines(folder))


def first_ids(folder: Path, count: int) -> list[str]:
    """The ids of the first rows, at most `count`."""
    return list(each_first_id(folder, count))


def each_first_id(folder: Path, count: int) -> Iterator[str]:
    """The same one by one, so that they need not be held all at once."""
    return (line.split(" ", 1)[0] for line in islice(_lines(folder), count))


def add_places(folder: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Give places to the rows that have none yet, behind those that have, in the order of `rows`. Returns how many have one."""
    return add_digests(folder, ((row["id"], row_digest(row)) for row in rows))


def add_digests(folder: Path, rows: Iterable[tuple[str, str]]) -> int:
    """The same for (id, digest) of each row."""
    known = {line.split(" ", 1)[0] for line in _lines(folder)}
    count = len(known)

    def lines() -> Iterator[str]:
        nonlocal count
        yield from _lines(folder)
        for key, digest in rows:
            if key not in known:
                count += 1
                yield f"{key} {digest}\n"

    write_whole(folder / PLACES, lines())
    return count


def row_digest(row: Mapping[str, Any]) -> str:
    """SHA-256 of all that a row holds."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()
