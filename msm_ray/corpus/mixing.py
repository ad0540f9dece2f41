"""Mixing other texts into a corpus by their share of the tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

from msm_ray.corpus.packing import Example
from msm_ray.errors import SettingsError


def mix(main: Sequence[Example], other: Sequence[Example], share: float, seed: int) -> list[Example]:
    """All of `main` and as many of `other`, drawn by seed, as make up `share` of all tokens (to within one text).

    Raises SettingsError when `other` has too few tokens: repeating it silently would be another mix than the one asked.
    """
    if share == 0:
        return list(main)
    wanted = sum(len(e.ids) for e in main) * share / (1 - share)
    drawn, tokens = [], 0
    for example in random.Random(seed).sample(list(other), len(other)):
        if tokens >= wanted:
            break
        drawn.append(example)
        tokens += len(example.ids)
    if tokens < wanted:
        raise SettingsError(
            f"mix {share}: needs {round(wanted)} tokens of other text and there are {tokens}; make more of it or lower mix"
        )
    return [*main, *drawn]
