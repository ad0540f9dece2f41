"""Near-duplicates by MinHash: a signature for each document, alone and so anywhere; then groups, by bands of the signatures.

Which documents share a band at all is found by an exchange (`exchange.py`); only those are compared, group by group.

Documents are sets of 5-grams of words; their similarity is Jaccard's: common 5-grams by all of both. Signatures of 128 numbers
(rensa's R-MinHash) estimate it with a standard error of 0.035 at 0.8. Two documents are compared where a band of their
signatures is equal (locality-sensitive hashing); bands are so many that 99.5% of the pairs at the threshold are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from msm_ray.corpus.words import folded, words_of

SIGNATURE, SEED, GRAM = 128, 1, 5
TOGETHER = 4
"""Texts whose 5-grams are in memory at once: those of many do not stay in a processor's cache."""
FOUND = 0.995
"""Share of the pairs just at the threshold that are to be compared."""
LIKE = np.dtype([("rank", np.int64), ("first", np.int64), ("equal", np.uint8), ("near", np.bool_)])
"""A document that was compared: the most similar one kept before it, how many numbers of their signatures are equal, and whether
these are as many as the threshold asks for."""


@dataclass(frozen=True)
class Likeness:
    """The most similar document among those kept before, with the estimate of how similar; first is its id."""

    first: str
    similarity: float


def signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """[texts, 128]: the signature of each text, which depends on that text alone."""
    return signatures_of_folded(list(map(folded, texts)))


def signatures_of_folded(said: Sequence[str]) -> NDArray[np.uint32]:
    """The same of texts that are folded already (`words.folded`)."""
    if not said:
        return np.zeros((0, SIGNATURE), np.uint32)
    rows: list[list[int]] = []
    for at in range(0, len(said), TOGETHER):
        grams = [_grams(words_of(each)) for each in said[at : at + TOGETHER]]
        rows += RMinHash.digest_matrix_from_token_sets(grams, SIGNATURE, SEED).to_rows()
    return np.array(rows, np.uint32)


def _grams(words: list[str]) -> list[str]:
    """Every run of five words; all words as one where there are fewer."""
    return list(map(" ".join, zip(*(words[place:] for place in range(GRAM)), strict=False))) or [" ".join(words)]


def likenesses(
    keys: Sequence[str], signed: NDArray[np.uint32], threshold: float
) -> tuple[dict[str, Likeness], dict[str, Likeness]]:
    """(near-duplicates, others): by the id of a document what it is like among those kept before it, in the given order.

    signed: their signatures. A near-duplicate is as similar as `threshold` to a document that is kept: the first of a group by
    the given order. Others are in no one's group; of them those are told that were compared with any.
    """
    near: dict[str, Likeness] = {}
    others: dict[str, Likeness] = {}
    for row, first, equal, is_near in _compared(signed, threshold):
        (near if is_near else others)[keys[row]] = Likeness(keys[first], similarity(equal))
    return near, others


def compare(ranks: NDArray[np.int64], threshold: float, *given: tuple[NDArray[np.int64], NDArray[Any]]) -> NDArray[Any]:
    """The same as an array of LIKE, for documents that go by their ranks; the first of a group is that of the least rank.

    ranks: ascending; given: ranks and signatures of these and of others, in any order.
    """
    there = np.concatenate([rank for rank, _ in given])
    order = np.argsort(there)
    places = order[np.searchsorted(there, ranks, sorter=order)]
    signed = np.concatenate([each for _, each in given])[places]
    found = [(ranks[row], ranks[first], equal, near) for row, first, equal, near in _compared(signed, threshold)]
    return np.array(found, LIKE)


def similarity(equal: int) -> float:
    """The estimate, from how many numbers of two signatures are equal."""
    return round(equal / SIGNATURE, 3)


def _compared(signed: NDArray[np.uint32], threshold: float) -> Iterator[tuple[int, int, int, bool]]:
    """(row, the most similar row kept before it, equal numbers, whether it is near) of each that shares a band with any."""
    bands = _Bands(bands_for(threshold))
    for row in range(len(signed)):
        tokens = bands.tokens(signed[row])
        near = False
        if candidates := bands.candidates(tokens):
            equal = (signed[candidates] == signed[row]).sum(axis=1)
            best = int(equal.argmax())  # of equals the first
            near = bool(equal[best] / SIGNATURE >= threshold)
            yield row, candidates[best], int(equal[best]), near
        if not near:
            bands.add(tokens, row)


def bands_for(threshold: float) -> tuple[int, int]:
    """(bands, rows of a band): rows as many as still find the wished share of the pairs at the threshold; more find fewer."""

    def share(rows: int) -> float:
        return float(1 - (1 - threshold**rows) ** (SIGNATURE // rows))

    rows = max((rows for rows in range(1, 33) if share(rows) >= FOUND), default=1)
    return SIGNATURE // rows, rows


class _Bands:
    """Rows of kept documents by the bands of their signatures."""

    def __init__(self, shape: tuple[int, int]):
        self.count, self.rows = shape
        self.kept: list[defaultdict[bytes, list[int]]] = [defaultdict(list) for _ in range(self.count)]

    def tokens(self, signature: NDArray[Any]) -> list[bytes]:
        """The bytes of each band."""
        raw, size = signature.tobytes(), self.rows * signature.itemsize
        return [raw[band * size : (band + 1) * size] for band in range(self.count)]

    def candidates(self, tokens: Iterable[bytes]) -> list[int]:
        """Rows that share a band, in their order."""
        return sorted({row for kept, token in zip(self.kept, tokens, strict=True) for row in kept.get(token, ())})

    def add(self, tokens: Iterable[bytes], row: int) -> None:
        """Keep a row to compare later ones with."""
        for kept, token in zip(self.kept, tokens, strict=True):
            kept[token].append(row)
