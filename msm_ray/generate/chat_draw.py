"""Which rows of what others made become a set: copies are left out, and of the rest as many as are asked for are drawn by seed.

A file may be sorted, by topic or by what wrote it, so its first rows are no sample of it.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msm_ray.rows.schemas import Row

COPY = "copy of another chat"


@dataclass(frozen=True)
class Drawn:
    """rows: those of the set, in the order of their sources; there: how many could have been drawn, by part."""

    rows: list[Row]
    there: Mapping[str, int]

    def short(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """The parts that have fewer than they are to give -> how many they have."""
        return {part: self.there.get(part, 0) for part, n in wanted.items() if self.there.get(part, 0) < n}


def without_copies(rows: Sequence[Row]) -> list[Row]:
    """The rows, the second and later of equal chats with the reason; rows that have one already are no originals."""
    seen: set[str] = set()
    marked = []
    for row in rows:
        text = json.dumps(row["messages"], sort_keys=True)
        again = not row["reason"] and text in seen
        marked.append(row | {"reason": COPY} if again else row)
        if not row["reason"]:
            seen.add(text)
    return marked


def wanted(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Rows of each part, as near to the shares as whole numbers that make `count` can be."""
    exact = {part: count * share for part, share in shares.items()}
    rows = {part: int(amount + 1e-9) for part, amount in exact.items()}
    behind = sorted(rows, key=lambda part: rows[part] - exact[part])
    return rows | {part: rows[part] + 1 for part in behind[: count - sum(rows.values())]}


def draw(rows: Sequence[Row], count: int, shares: Mapping[str, float], seed: int) -> Drawn:
    """`count` of the rows that have no reason, each part by its share; all of a part that has fewer."""
    fit: dict[str, list[Row]] = {part: [] for part in shares}
    for row in rows:
        if not row["reason"]:
            fit[row["part"] or ""].append(row)
    taken: list[Row] = []
    for part, n in wanted(count, shares).items():
        places = random.Random(f"{part} {seed}").sample(range(len(fit[part])), min(n, len(fit[part])))
        taken += [fit[part][place] for place in sorted(places)]
    return Drawn(taken, {part: len(there) for part, there in fit.items()})


def warn_of_short(name: str, drawn: Drawn, wanted: Mapping[str, int]) -> None:
    """A part that gives fewer rows than its share changes the mix: told."""
    for part, there in drawn.short(wanted).items():
        if part:
            warnings.warn(f"chats/{name}: part {part} has {there:,} of its {wanted[part]:,} rows", stacklevel=2)
