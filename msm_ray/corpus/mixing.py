"""Mixing other texts into a corpus by their share of the tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

from msm_ray.errors import SettingsError


def drawn(lengths: Sequence[int], main_tokens: int, share: float, seed: int) -> list[int]:
    """Which of the other texts, by their places, make up `share` of all tokens (to within one text), in the order of the draw.

    lengths: tokens of each of the other texts. Their tokens themselves are not needed, and so may lie anywhere. Raises
    SettingsError when they are too few: repeating them silently would be another mix than the one asked.
    """
    if share == 0:
        return []
    wanted = main_tokens * share / (1 - share)
    found: list[int] = []
    tokens = 0
    for place in random.Random(seed).sample(range(len(lengths)), len(lengths)):
        if tokens >= wanted:
            break
        found.append(place)
        tokens += int(lengths[place])
    if tokens < wanted:
        raise SettingsError(
            f"mix {share}: needs {round(wanted)} tokens of other text and there are {tokens}; make more of it or lower mix"
        )
    return found
