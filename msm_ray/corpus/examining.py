"""What a worker does with a piece of the documents: each is looked at alone, and what is told of them holds no text.

Counts of words go to the driver; findings, with what was found, and signatures stay where they were made; digests and hashes of
bands are exchanged (`exchange.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from msm_ray.corpus.exchange import BANDS, DIGESTS, Ranks, band_hashes, shares
from msm_ray.corpus.near_duplicates import SIGNATURE, bands_for, signatures_of_folded
from msm_ray.corpus.rules import Findings, check_batch, count_words
from msm_ray.corpus.settings import CheckContent
from msm_ray.corpus.words import folded, loose
from msm_ray.rows.pieces import Piece, read_piece
from msm_ray.spec import Spec
from msm_ray.worlds import World

BATCH = 32
"""Documents that are checked together, so that as many texts are in Python's memory."""
TEXTS = pa.schema([("text", pa.string())])


@dataclass(frozen=True)
class Taken:
    """Rows of a piece that are looked at. rows: their places in it, ascending; ranks: theirs in the order of all ids."""

    piece: Piece
    rows: NDArray[np.int32]
    ranks: NDArray[np.int32]


@dataclass(frozen=True)
class Rules:
    """What documents are held against."""

    spec: Spec
    world: World
    checks: CheckContent


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


def examine(taken: Taken, rules: Rules, parts: int) -> tuple[Any, ...]:
    """(Told, Examined, a Share for each part) of one piece. Raises StageError where a file of it is damaged."""
    texts = read_piece(taken.piece, TEXTS, absent=False).column("text").take(pa.array(taken.rows))
    words: list[int] = []
    findings: list[Findings] = []
    characters: list[int] = []
    digests = np.empty(len(taken.rows), DIGESTS)
    signed = []
    for at in range(0, len(taken.rows), BATCH):
        batch = [text or "" for text in texts.slice(at, BATCH).to_pylist()]
        counted = count_words(batch)
        found = check_batch(batch, rules.spec, rules.world, rules.checks, counted)
        sound = [place for place, each in enumerate(found) if not each]
        said = [folded(batch[place]) for place in sound]
        for place, each in zip(sound, said, strict=True):
            digests[at + place] = (*_numbers(loose(each), 2), *_numbers(batch[place].encode(), 1), 0)
        if rules.checks.near_duplicates is not None:
            signed.append(signatures_of_folded(said))
        words += counted
        findings += found
        characters += map(len, batch)
    return _results(taken, rules, parts, words, characters, findings, digests, signed)


def _results(
    taken: Taken, rules: Rules, parts: int, words: Sequence[int], characters: Sequence[int],
    findings: Sequence[Findings], digests: NDArray[Any], signed: list[NDArray[np.uint32]],
) -> tuple[Any, ...]:  # fmt: skip
    failed = np.array([place for place, each in enumerate(findings) if each], np.int64)
    sound = np.array([place for place, each in enumerate(findings) if not each], np.int64)
    ranks = taken.ranks.astype(np.int64)
    fit, digests = ranks[sound], digests[sound]
    digests["rank"] = fit
    matrix = np.concatenate(signed) if signed else np.zeros((0, SIGNATURE), np.uint32)
    near, bands = rules.checks.near_duplicates, np.empty(0, BANDS)
    if near is not None:
        bands = band_hashes(matrix, fit, bands_for(near))
    counted = np.array(words, np.int32)
    told = Told(
        counted, np.array(characters, np.int32), failed, *_counted([findings[at] for at in failed], ranks[failed])
    )
    examined = Examined(taken, counted, {int(at): findings[at] for at in failed}, fit, matrix)
    return told, examined, *shares(digests, bands, parts)


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


def _numbers(raw: bytes, count: int) -> tuple[int, ...]:
    """So many numbers of 64 bits from the digest of some bytes."""
    digest = hashlib.sha256(raw).digest()
    return tuple(int.from_bytes(digest[8 * place : 8 * place + 8], "little") for place in range(count))
