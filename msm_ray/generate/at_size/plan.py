"""What the driver knows of a job: an id, whether it is done and how often it was tried, 14 bytes a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from msm_ray.errors import MsmError
from msm_ray.generate.document_job import DocumentJob
from msm_ray.generate.document_outcomes import USUAL_TOKENS, is_fixed, is_refusal, why_not_whole
from msm_ray.generate.document_rows import ID, job_ids
from msm_ray.generate.shards import FIXED_ROWS, FixedShards
from msm_ray.rows.tables import read_table


class Plan:
    """One job. Rows are called by their places."""

    def __init__(self, number: int, job: DocumentJob):
        self.number, self.job, self.fixed = number, job, is_fixed(job)
        self.ids = job_ids(job)
        self.lost: dict[int, str] = {}
        self.over = False
        """Whether nothing more is to be asked for in this run."""
        self.look()

    def __len__(self) -> int:
        return len(self.ids)

    def look(self) -> None:
        """See what lies in the job's folder."""
        self.done = np.zeros(len(self.ids), bool)
        self.tries = np.zeros(len(self.ids), np.uint8)
        self.refused: dict[int, str] = {}
        self.tokens = 0
        order = np.argsort(self.ids)
        for path in sorted((self.job.out / "data").glob("*.parquet")):
            table = read_table(path, ["id", "tokens"])
            places = self._places(table["id"].to_pylist(), order)
            self.done[places] = True
            self.tokens += sum(tokens or 0 for tokens in table["tokens"].to_pylist())
        for path in sorted((self.job.out / "rejected").glob("*.parquet")):
            table = read_table(path, ["id", "reason"])
            places = self._places(table["id"].to_pylist(), order)
            np.add.at(self.tries, places, 1)
            for place, reason in zip(places.tolist(), table["reason"].to_pylist(), strict=True):
                if is_refusal(reason):
                    self.refused[place] = reason
        if self.fixed:
            self._forget_halves()

    def _places(self, keys: list[str], order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where rows with these ids stand; those of no row of now are left out."""
        wanted = np.array([bytes.fromhex(key) for key in keys], ID)
        found = np.searchsorted(self.ids, wanted, sorter=order)
        places = order[np.minimum(found, len(order) - 1)]
        return places[self.ids[places] == wanted]

    def _forget_halves(self) -> None:
        """Shards that are made anew as a whole: those without all rows that they are to have."""
        shards = FixedShards(self.job.out, len(self))
        for first in range(0, len(self), FIXED_ROWS):
            if not shards.done(first):
                self.done[first : first + FIXED_ROWS] = False
                self.tries[first : first + FIXED_ROWS] = 0
            else:
                self.tries[first : first + FIXED_ROWS] = self.job.where.attempts

    @property
    def enough(self) -> bool:
        """Whether the documents that are there have the tokens that are wanted."""
        target = self.job.target_tokens
        return target is not None and self.tokens >= target

    def pending(self) -> NDArray[np.int64]:
        """Places of rows without a document and with tries left."""
        if self.enough:
            return np.zeros(0, np.int64)
        return np.flatnonzero(~self.done & (self.tries < self.job.where.attempts))

    def next(self, most: int) -> NDArray[np.int64]:
        """Those that are asked for now: at most so many, and of a target of tokens no more than it needs."""
        waiting = self.pending()
        if self.over or not len(waiting):
            return waiting[:0]
        if self.lost:  # they were asked as often as they may be, in this run
            waiting = waiting[~np.isin(waiting, list(self.lost))]
        if self.job.target_tokens is not None and not self.fixed:
            written = int(self.done.sum())
            each = self.tokens / written if written and self.tokens else USUAL_TOKENS
            most = min(most, max(1, round((self.job.target_tokens - self.tokens) / each)))
        return waiting[:most]

    def key(self, place: int) -> str:
        """The id of a row."""
        return bytes(self.ids[place]).ljust(ID.itemsize, b"\0").hex()

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why this is not the whole, if it is not."""
        refused = [reason for place, reason in self.refused.items() if not self.done[place]]
        lost = {self.key(place): why for place, why in self.lost.items()}
        return why_not_whole(self.job, len(self), lost, refused, stopped if len(self.pending()) else None)
