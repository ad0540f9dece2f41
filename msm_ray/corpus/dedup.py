"""Duplicates: the same text, or the same but for case, punctuation, digits and white space.

Near-duplicates, which share most of their words, are `near_duplicates.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from msm_ray.corpus.words import normalised

EXACT, LOOSE = "exact duplicate", "duplicate but for case or punctuation"


def find_duplicates(texts: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """For (id, text) pairs: id of each duplicate -> (reason, id of the first one). The first by given order is kept.

    All in this process, one after the other; `exchange.duplicates` finds the same in many pieces.
    """
    exact: dict[bytes, str] = {}
    loose: dict[bytes, str] = {}
    found: dict[str, tuple[str, str]] = {}
    for key, text in texts:
        same, alike = _hash(text), _hash(normalised(text))
        if same in exact:
            found[key] = (EXACT, exact[same])
        elif alike in loose:
            found[key] = (LOOSE, loose[alike])
        else:
            exact[same] = loose[alike] = key
    return found


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
