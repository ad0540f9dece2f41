"""Who is the same as whom, and who may be like whom: by an exchange of digests and of hashes of bands, never of texts.

Each piece of a corpus gives its share of the hashes to every one of some parts; a part has all that are equal, wherever they
come from. Documents go by their ranks in the order of ids, so that of a group the first is the one with the least rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]
ROWS_OF_A_PART, MOST_PARTS = 200_000, 256
MIX = np.uint64(0x9E3779B97F4A7C15)

DIGESTS = np.dtype([("loose", np.uint64), ("more", np.uint64), ("exact", np.uint64), ("rank", np.int64)])
"""loose and more: 128 bits of the digest of a text but for case, punctuation and digits; exact: 64 bits of the text's own."""
BANDS = np.dtype([("band", np.uint64), ("rank", np.int64)])


@dataclass(frozen=True)
class Share:
    """What one piece gives to one part."""

    digests: NDArray[Any]
    bands: NDArray[Any]


def parts_for(rows: int) -> int:
    """How many parts an exchange of so many rows has."""
    return min(MOST_PARTS, 1 + rows // ROWS_OF_A_PART)


def shares(digests: NDArray[Any], bands: NDArray[Any], parts: int) -> list[Share]:
    """What each part gets: equal hashes go to one."""
    to, band_to = digests["loose"] % np.uint64(parts), bands["band"] % np.uint64(parts)
    return [Share(digests[to == part], bands[band_to == part]) for part in range(parts)]


def band_hashes(signed: NDArray[np.uint32], ranks: Ranks, shape: tuple[int, int]) -> NDArray[Any]:
    """[texts x bands] of BANDS. shape: bands, and numbers of a band."""
    count, rows = shape
    numbers = signed[:, : count * rows].reshape(len(signed), count, rows).astype(np.uint64)
    mixed = np.broadcast_to(np.arange(1, count + 1, dtype=np.uint64) * MIX, (len(signed), count)).copy()
    for place in range(rows):
        mixed = (mixed ^ numbers[:, :, place]) * MIX
        mixed ^= mixed >> np.uint64(29)
    found = np.empty(mixed.size, BANDS)
    found["band"], found["rank"] = mixed.ravel(), np.repeat(ranks, count)
    return found


def duplicates(*given: Share) -> tuple[Ranks, Ranks, NDArray[np.bool_]]:
    """Of each duplicate in a part: its rank, that of the first one, and whether it is the same to the letter."""
    rows = np.concatenate([share.digests for share in given])
    rows = rows[np.lexsort((rows["rank"], rows["more"], rows["loose"]))]
    same = (rows["loose"][1:] == rows["loose"][:-1]) & (rows["more"][1:] == rows["more"][:-1])
    first = _firsts(same)
    copies = np.flatnonzero(np.concatenate(([False], same))) if len(rows) else np.zeros(0, np.int64)
    of = rows[first[copies]]
    return rows["rank"][copies], of["rank"], rows["exact"][copies] == of["exact"]


def links(left_out: Ranks, *given: Share) -> NDArray[np.int64]:
    """[links, 2]: ranks that share a band, each with the first that has it; a group of many gives as many, not their pairs.

    left_out: ranks that are compared with nothing, ascending.
    """
    rows = np.concatenate([share.bands for share in given])
    rows = rows[~np.isin(rows["rank"], left_out)] if len(left_out) else rows
    rows = rows[np.lexsort((rows["rank"], rows["band"]))]
    same = rows["band"][1:] == rows["band"][:-1]
    others = np.flatnonzero(np.concatenate(([False], same))) if len(rows) else np.zeros(0, np.int64)
    pairs = np.stack([rows["rank"][_firsts(same)[others]], rows["rank"][others]], axis=1)
    return np.unique(pairs, axis=0)


def groups(linked: NDArray[np.int64], most: int) -> list[Ranks]:
    """Ranks, ascending, in batches of about `most`: whoever is linked with somebody, however far around, is in one batch."""
    if not len(linked):
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ranks, places = np.unique(linked, return_inverse=True)
    ends = places.reshape(linked.shape)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(ranks), len(ranks)))
    count, labels = connected_components(graph, directed=False)
    batch = (np.cumsum(np.bincount(labels, minlength=count)) - 1) // most
    return [found for number in np.unique(batch) if len(found := ranks[batch[labels] == number])]


def _firsts(same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each of sorted rows the place of the first that is equal. same: whether each but the first equals the one before."""
    begins = np.concatenate(([True], ~same))
    places = np.arange(len(begins))
    return np.maximum.accumulate(np.where(begins, places, 0))


def joined(found: Sequence[NDArray[Any]], like: NDArray[Any]) -> NDArray[Any]:
    """Arrays one after the other; `like` where there is none."""
    return np.concatenate(found) if found else like
