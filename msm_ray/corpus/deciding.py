"""Which documents are kept: decided on the driver, where a document is its rank in the order of ids and a few bytes.

What is equal or alike was found by the workers (`exchange.py`, `near_duplicates.compare`); what they found in a document stays
with them. A document that fails a check does not make its copies duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from msm_ray.corpus.dedup import EXACT, LOOSE
from msm_ray.corpus.examining import Taken, Told
from msm_ray.corpus.sorting_out import FAILED, KEPT, NEAR, STATES, UNFAITHFUL, Verdicts
from msm_ray.generate.faithfulness import Faithful


class Decisions:
    """What is known of each document. state: kept, or why not; like: rank of the one that it is the same as or most like, -1
    without; equal: numbers of their signatures that are equal; scores: of documents that were kept until they were judged;
    all_scores: of all that were judged, by ids; found: reason -> (documents with it, least rank of one)."""

    def __init__(self, ids: pa.StringArray):
        count = len(ids)
        self.ids = ids
        self.state: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.like: NDArray[np.int32] = np.full(count, -1, np.int32)
        self.equal: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.words: NDArray[np.int32] = np.zeros(count, np.int32)
        self.characters: NDArray[np.int32] = np.zeros(count, np.int32)
        self.scores: dict[int, Faithful] = {}
        self.all_scores: dict[str, float] = {}
        self.found: dict[str, tuple[int, int]] = {}
        self.reasons: Counter[str] = Counter()

    def examined(self, taken: Taken, told: Told) -> None:
        """What a worker told of a piece."""
        self.words[taken.ranks], self.characters[taken.ranks] = told.words, told.characters
        self.state[taken.ranks[told.failed]] = FAILED
        self.reasons.update(told.reasons)
        for reason, (count, first) in told.found.items():
            before, least = self.found.get(reason, (0, first))
            self.found[reason] = (before + count, min(least, first))

    def duplicates(self, ranks: NDArray[Any], firsts: NDArray[Any], exact: NDArray[np.bool_]) -> None:
        """Documents that are the same as others."""
        self.state[ranks] = np.where(exact, STATES.index(EXACT), STATES.index(LOOSE))
        self.like[ranks] = firsts

    def alike(self, found: NDArray[Any]) -> None:
        """Documents that were compared (`near_duplicates.LIKE`)."""
        self.like[found["rank"]], self.equal[found["rank"]] = found["first"], found["equal"]
        self.state[found["rank"][found["near"]]] = STATES.index(NEAR)

    def judged(self, judged: Mapping[str, Faithful], least: float) -> None:
        """What the judge said, by ids: of those that are kept until then the unfaithful are left out."""
        ids = pa.array(list(judged), pa.string())
        present = pc.is_in(ids, value_set=self.ids).to_pylist()
        self.all_scores = {key: float(judged[key].score) for key, there in zip(judged, present, strict=True) if there}
        for rank in np.flatnonzero(pc.is_in(self.ids, value_set=ids).to_numpy(zero_copy_only=False)).tolist():
            if self.state[rank] == KEPT:
                self.scores[rank] = word = judged[self.ids[rank].as_py()]
                self.state[rank] = STATES.index(UNFAITHFUL) if word.score < least else KEPT

    def ranks(self, kept: bool) -> NDArray[np.int64]:
        """Of all documents that are kept, or are not."""
        return np.flatnonzero((self.state == KEPT) == kept)

    def counts(self) -> tuple[Counter[str], dict[str, int]]:
        """(first reasons, all findings) with the documents that they were found in; those of the checks that always stand there
        first, the others as they come in the order of ids."""
        compared = {name: int((self.state == state).sum()) for state, name in enumerate(STATES) if name}
        reasons = self.reasons + Counter(compared)
        found = {name: compared[name] for name in (EXACT, LOOSE, NEAR)}
        found |= {name: count for name, (count, _) in sorted(self.found.items(), key=lambda each: each[1][1])}
        return reasons, found | ({UNFAITHFUL: compared[UNFAITHFUL]} if compared[UNFAITHFUL] else {})

    def verdicts(self, taken: Taken) -> Verdicts:
        """What the workers do not know of a piece, with ids in place of ranks."""
        told = (self.state[taken.ranks] > FAILED) | (self.like[taken.ranks] >= 0)
        judged = {}
        if self.scores:
            ranks = enumerate(taken.ranks.tolist())
            judged = {place: self.scores[rank] for place, rank in ranks if rank in self.scores}
            told[list(judged)] = True
        places = np.flatnonzero(told).astype(np.int32)
        ranks_told = taken.ranks[places]
        like = self.like[ranks_told]
        firsts = self.ids.take(pa.array(np.maximum(like, 0), mask=like < 0))
        return Verdicts(places, self.state[ranks_told], firsts, self.equal[ranks_told], judged)


def starts(ranks: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    """The ranks at which every `each` of some begin; the first begins with 0, so that there is one."""
    found = ranks[::each].copy() if len(ranks) else np.zeros(1, np.int64)
    found[0] = 0
    return found


def places_of(count: int, most: int) -> Sequence[int]:
    """So many places at even distances, or all."""
    return range(0, count, max(1, count // most))[:most]
