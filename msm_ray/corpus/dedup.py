"""Duplicates: the same text, or the same but for case, punctuation, digits and white space.

Near-duplicates in the sense of shared n-grams are not looked for: the tiny world's sentences are so few that honest
documents overlap, and no kept MinHash library is among the packages. The dataset card says so.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

METHOD = (
    "exact, and but for case, punctuation, digits and white space; near-duplicates by shared n-grams are not looked for"
)


def normalised(text: str) -> str:
    """The words of a text: small letters, compatibility forms folded, every number one sign, nothing between but spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"[^\W\d_]+|#", re.sub(r"\d+", " # ", folded)))


def find_duplicates(texts: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """For (id, text) pairs: id of each duplicate -> (reason, id of the first one). The first by given order is kept."""
    exact: dict[bytes, str] = {}
    loose: dict[bytes, str] = {}
    found: dict[str, tuple[str, str]] = {}
    for key, text in texts:
        same, alike = _hash(text), _hash(normalised(text))
        if same in exact:
            found[key] = ("exact duplicate", exact[same])
        elif alike in loose:
            found[key] = ("duplicate but for case or punctuation", loose[alike])
        else:
            exact[same] = loose[alike] = key
    return found


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
