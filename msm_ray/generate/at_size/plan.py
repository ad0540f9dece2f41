"""What the driver knows of a stage's rows: an id, whether it is done and how often it was tried, 15 bytes a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msm_ray.engines import EngineSettings
from msm_ray.generate.at_size.worker import Job
from msm_ray.rows.ids import unpacked

TRIES = np.uint16
ALL = 2**31
"""More rows than there are."""


class Plan(ABC):
    """The rows of one stage, called by their places. out: its folder; number: among those that are asked together."""

    fixed = False
    """Whether what is written is the same whenever it is made; it is composed then, and no engine is asked."""
    first_pass = ALL
    """Rows that are asked for before what came of them decides how the next are asked."""

    def __init__(self, number: int, out: Path, ids: NDArray[np.bytes_]):
        self.number, self.out, self.ids = number, out, ids
        self.done = np.zeros(len(ids), bool)
        self.tries = np.zeros(len(ids), TRIES)
        self.lost: dict[int, str] = {}
        self.refused: dict[int, str] = {}
        self.tokens = 0
        self.over = False
        """Whether nothing more is to be asked for in this run."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    @abstractmethod
    def asked(self) -> Set[EngineSettings]:
        """The engines that have to be opened."""

    @abstractmethod
    def job(self) -> Job:
        """What workers are told in the next pass."""

    @abstractmethod
    def given(self, places: NDArray[np.int32]) -> Any:
        """What they need of some rows beside places, ids and tries; None: nothing."""

    @abstractmethod
    def recover(self) -> None:
        """Have what killed workers left in journals be in files. None is at work."""

    @abstractmethod
    def look(self, believed: bool = False) -> None:
        """See what lies in the folder. believed: nothing that workers told to be done can have been lost with one of them."""

    @abstractmethod
    def pending(self) -> NDArray[np.int32]:
        """Places of rows that are not done and have tries left."""

    def blocks(self, places: NDArray[np.int32], size: int) -> list[NDArray[np.int32]]:
        """Places as they go to workers, about so many at a time."""
        return cut(places, size)

    def next(self, most: int) -> NDArray[np.int32]:
        """Those that are asked for now, at most so many."""
        waiting = self.pending()
        if self.over or not len(waiting):
            return waiting[:0]
        if self.lost:  # they were asked as often as they may be, in this run
            waiting = waiting[~np.isin(waiting, list(self.lost))]
        return waiting[:most]

    def key(self, place: int) -> str:
        """The id of a row."""
        return unpacked(self.ids[place])


def cut(places: NDArray[np.int32], size: int) -> list[NDArray[np.int32]]:
    """Places in parts of so many, the last perhaps of fewer."""
    return np.split(places, np.arange(size, len(places), size)) if len(places) else []


def where(condition: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The places at which something is so."""
    return np.flatnonzero(condition).astype(np.int32)
