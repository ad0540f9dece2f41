"""Questions that say the same in other words: the first of them is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from msm_ray.errors import StageError

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts -> a row each, of any length; what is alike points the same way."""
CHUNK = 512
"""Texts that are compared at once with all before them, so that what is computed stays small beside what is kept."""
DECIMALS = 4
"""Cosines are compared rounded: an embedder's last bits differ with the machine and with what else is in the batch."""


@dataclass
class Unlike:
    """Texts that were kept so far, none more alike to an earlier one than most_alike (cosine).

    Every kept text is looked at, where the paper looks at the ten nearest: the same as long as no more than ten are alike.
    """

    embed: Embed
    most_alike: float
    texts: list[str] = field(default_factory=list)
    _vectors: list[np.ndarray] = field(default_factory=list)

    def take(self, texts: Sequence[str]) -> list[str]:
        """Keep those of some texts that are unlike all before; per text "" or the kept one that it is a double of."""
        told: list[str] = []
        for start in range(0, len(texts), CHUNK):
            told += self._take(texts[start : start + CHUNK])
        return told

    def _take(self, texts: Sequence[str]) -> list[str]:
        vectors = self._directions(texts)
        before = vectors @ np.concatenate(self._vectors).T if self._vectors else np.zeros((len(texts), 0))
        among = vectors @ vectors.T
        fresh: list[int] = []
        told: list[str] = []
        for place, text in enumerate(texts):
            cosines = np.round(np.concatenate([before[place], among[place, fresh]]), DECIMALS)
            nearest = int(np.argmax(cosines)) if len(cosines) else -1
            if nearest >= 0 and cosines[nearest] > self.most_alike:
                told.append(self.texts[nearest])
                continue
            told.append("")
            fresh.append(place)
            self.texts.append(text)
        if fresh:
            self._vectors.append(vectors[fresh])
        return told

    def _directions(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.asarray(self.embed(list(texts)), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise StageError(
                f"The embedder gave {vectors.shape} for {len(texts)} texts; a row of finite numbers for each is expected"
            )
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
