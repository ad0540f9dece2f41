"""What a kind of artifact is shown with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from msm_ray.look.entries import Entry, made_from
from msm_ray.look.page import Page


@dataclass(frozen=True)
class View:
    """An artifact to be shown on a page. beside: all of its root; count: rows that are asked for, drawn by rng."""

    page: Page
    entry: Entry
    beside: Sequence[Entry]
    count: int
    rng: random.Random

    def inputs(self, kind: str) -> list[Entry]:
        """What of one kind it was made from and is still here, finished."""
        found = made_from(self.entry, self.beside)
        return [e for e in found if e.artifact.stage == kind and e.state not in ("draft", "damaged")]
