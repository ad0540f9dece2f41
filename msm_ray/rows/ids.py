"""Ids of rows as they are held by the million: the 24 hexadecimal digits as 12 bytes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

ID = np.dtype("S12")
"""NumPy leaves out the zeros at the end of such bytes, wherever it gives or takes them."""


def packed(key: str) -> bytes:
    """An id as it is held, without zeros at its end."""
    return bytes.fromhex(key).rstrip(b"\0")


def unpacked(held: bytes) -> str:
    """The id again."""
    return bytes(held).ljust(ID.itemsize, b"\0").hex()


def packed_array(keys: Iterable[str]) -> NDArray[np.bytes_]:
    """Many ids."""
    return np.array([bytes.fromhex(key) for key in keys], ID)


class Order:
    """Where ids stand in an array of them."""

    def __init__(self, ids: NDArray[np.bytes_]):
        self.ids, self._order = ids, np.argsort(ids).astype(np.int32)

    def find(self, wanted: NDArray[np.bytes_]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(place of each, whether it is there at all: the place of one that is not means nothing)."""
        if not len(self.ids):
            return np.zeros(len(wanted), np.int32), np.zeros(len(wanted), bool)
        found = np.searchsorted(self.ids, wanted, sorter=self._order)
        places = self._order[np.minimum(found, len(self.ids) - 1)]
        return places, self.ids[places] == wanted
