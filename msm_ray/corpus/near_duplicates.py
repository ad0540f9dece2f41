"""Near-duplicates by MinHash: a signature for each document, alone and so anywhere; then groups, by bands of the signatures.

Documents are sets of 5-grams of words; their similarity is Jaccard's: common 5-grams by all of both. Signatures of 128 numbers
(rensa's R-MinHash) estimate it with a standard error of 0.035 at 0.8. Two documents are compared where a band of their
signatures is equal (locality-sensitive hashing); bands are so many that 99.5% of the pairs at the threshold are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

from msm_ray.corpus.dedup import folded

SIGNATURE, SEED, GRAM = 128, 1, 5
FOUND = 0.995
"""Share of the pairs just at the threshold that are to be compared."""
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""A word; in Chinese and Japanese a character."""
PLAIN_WORD = re.compile(r"\w+")
"""The same three times as fast, where next to nothing is written in such a script."""


@dataclass(frozen=True)
class Likeness:
    """The most similar document among those kept before, with the estimate of how similar; first is its id."""

    first: str
    similarity: float


def signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """[texts, 128]: the signature of each text, which depends on that text alone."""
    if not texts:
        return np.zeros((0, SIGNATURE), np.uint32)
    matrix = RMinHash.digest_matrix_from_token_sets([_grams(text) for text in texts], SIGNATURE, SEED)
    return np.array(matrix.to_rows(), np.uint32)


def _grams(text: str) -> list[str]:
    """Every run of five words; all words as one where there are fewer."""
    said = folded(text)
    words = (PLAIN_WORD if len(said.encode()) < 1.02 * len(said) else WORD).findall(said)
    return list(map(" ".join, zip(*(words[place:] for place in range(GRAM)), strict=False))) or [" ".join(words)]


def likenesses(
    keys: Sequence[str], signed: NDArray[np.uint32], threshold: float
) -> tuple[dict[str, Likeness], dict[str, Likeness]]:
    """(near-duplicates, others): by the id of a document what it is like among those kept before it, in the given order.

    signed: their signatures. A near-duplicate is as similar as `threshold` to a document that is kept: the first of a group by
    the given order. Others are in no one's group; of them those are told that were compared with any.
    """
    bands = _Bands(bands_for(threshold))
    near: dict[str, Likeness] = {}
    others: dict[str, Likeness] = {}
    for row, key in enumerate(keys):
        tokens = bands.tokens(signed[row])
        if candidates := bands.candidates(tokens):
            same = (signed[candidates] == signed[row]).mean(axis=1)
            best = int(same.argmax())  # of equals the first
            like = Likeness(keys[candidates[best]], round(float(same[best]), 3))
            if same[best] >= threshold:
                near[key] = like
                continue
            others[key] = like
        bands.add(tokens, row)
    return near, others


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
