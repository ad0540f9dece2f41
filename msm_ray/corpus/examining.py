"""What a worker does with a piece of the documents: each is looked at alone, and what is told of them holds no text.

Counts of words go to the driver; findings, with what was found, and signatures stay where they were made; digests and hashes of
bands are exchanged (`exchange.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray.corpus.exchange import BANDS, Ranks, band_hashes, shares
from msm_ray.corpus.looks import Look, Place, Rules, look_at
from msm_ray.corpus.near_duplicates import bands_for
from msm_ray.corpus.rules import Findings
from msm_ray.rows.pieces import Part, Piece, read_piece

TEXTS = pa.schema([("text", pa.string())])


@dataclass(frozen=True)
class Taken:
    """Rows of a piece that are looked at. rows: their places in it, ascending; ranks: theirs in the order of all ids."""

    piece: Piece
    rows: NDArray[np.int32]
    ranks: NDArray[np.int32]


@dataclass(frozen=True)
class Told:
    """What the driver learns of a piece. words, characters: of each document; failed: places of those with a finding; found:
    reason -> documents with it, and the least rank of one; reasons: first findings."""

    words: NDArray[np.int32]
    characters: NDArray[np.int32]
    failed: NDArray[np.int64]
    found: dict[str, tuple[int, int]]
    reasons: Counter[str]


@dataclass(frozen=True)
class Examined:
    """What stays with the workers. taken: which documents; words: of each; findings: of those with any, by their places; signed:
    signatures of the others, whose ranks are `fit`."""

    taken: Taken
    words: NDArray[np.int32]
    findings: dict[int, Findings]
    fit: Ranks
    signed: NDArray[np.uint32]


def examine(taken: Taken, rules: Rules, parts: int, ahead: Mapping[str, Place]) -> tuple[Any, ...]:
    """(Told, Examined, a Share for each part) of one piece. Raises StageError where a file of it is damaged.

    ahead: of files that were looked at while they came, by their names, where what was found lies.
    """
    looks, start = [], 0
    for part in taken.piece:
        low, high = np.searchsorted(taken.rows, (start, start + len(part)))
        rows = taken.rows[low:high] - start
        place = ahead.get(part.path.name)
        found = place.read(part) if place else None
        looks.append(found.take(rows) if found else look_at(_texts(part, rows), rules))
        start += len(part)
    return _results(taken, rules, parts, Look.together(looks))


def _texts(part: Part, rows: NDArray[np.int32]) -> list[str]:
    texts = read_piece((part,), TEXTS, absent=False).column("text")
    return [text or "" for text in texts.take(pa.array(rows)).to_pylist()]


def _results(taken: Taken, rules: Rules, parts: int, look: Look) -> tuple[Any, ...]:
    failed = np.array([place for place, each in enumerate(look.findings) if each], np.int64)
    sound = np.array([place for place, each in enumerate(look.findings) if not each], np.int64)
    ranks = taken.ranks.astype(np.int64)
    fit, digests = ranks[sound], look.digests[sound]
    digests["rank"] = fit
    near, bands = rules.checks.near_duplicates, np.empty(0, BANDS)
    if near is not None:
        bands = band_hashes(look.signed, fit, bands_for(near))
    findings = {int(at): look.findings[at] for at in failed}
    told = Told(look.words, look.characters, failed, *_counted(list(findings.values()), ranks[failed]))
    return told, Examined(taken, look.words, findings, fit, look.signed), *shares(digests, bands, parts)


def _counted(findings: Sequence[Findings], ranks: Ranks) -> tuple[dict[str, tuple[int, int]], Counter[str]]:
    found: dict[str, tuple[int, int]] = {}
    for each, rank in zip(findings, ranks.tolist(), strict=True):
        for reason in each:
            count, first = found.get(reason, (0, rank))
            found[reason] = (count + 1, min(first, rank))
    return found, Counter(next(iter(each)) for each in findings)


def signatures_at(examined: Examined, ranks: Ranks) -> tuple[Ranks, NDArray[np.uint32]]:
    """Those of these ranks (ascending) that are in a piece, and their signatures."""
    at = np.flatnonzero(np.isin(examined.fit, ranks))
    return examined.fit[at], examined.signed[at]
