"""One round of asking an engine: every row that comes back is settled, and an outage is noticed before it costs more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msm_ray.engines import DETERMINISTIC
from msm_ray.errors import MsmError, QualityGateError
from msm_ray.failures import Ledger
from msm_ray.generate.document_rows import AGAIN, JobRows
from msm_ray.generate.stream import stream_rows
from msm_ray.progress import Task
from msm_ray.rows.schemas import Row

if TYPE_CHECKING:
    from ray.data import Dataset


LAST_ANSWERS_SECONDS = 30
"""How long answers that were on their way are waited for when nothing more is asked."""
FIRST_REFUSED = 20
"""So many different rows refused and none ever answered: the request is wrong, not the rows."""


class _Enough(Exception):
    """What was on its way when the asking stopped has been waited for."""


class Round:
    """One round of asking: settles what comes and notices when nothing more should be asked."""

    def __init__(self, tables: list[JobRows], work: Task):
        self.tables, self.ledger, self._work = tables, Ledger(), work
        self.since = 0.0
        self.refused: set[str] = set()
        self.answered = any(table.done for table in tables)

    def collect(self, finished: Dataset, minutes: float) -> None:
        """Settle every row; on any failure what has come is flushed first. Raises MsmError where asking had to stop.

        Answers that were on their way are still taken then: they are paid for, and no new ones are asked.
        """
        try:
            for row in stream_rows(finished, minutes, self._tick):
                self._take(row)
                self._tick()
        except _Enough:
            pass
        finally:
            self.ledger.close()
            for table in self.tables:
                table.shards.flush()
        stopped = self.ledger.error("The engine", AGAIN) if self.ledger.stopped else self._nothing_but_refusals()
        if stopped:
            raise stopped

    def _take(self, row: Row) -> None:
        table = self.tables[row["job"]]
        if row["failure"]:
            table.lost.setdefault(row["id"], row["error"])
            self.ledger.failed(row["id"], row["error"], row["failure"], lambda: self._refuse(table, row))
        else:
            self.answered = True
            self._work.advance(table.settle(row))
            self.ledger.answered(row["id"])

    def _refuse(self, table: JobRows, row: Row) -> None:
        self.refused.add(row["id"])
        self._work.advance(table.settle(row))

    def _tick(self) -> None:
        for table in self.tables:
            table.shards.tick()
        if self.ledger.stopped or self._nothing_but_refusals():
            self.since = self.since or time.monotonic()
            if time.monotonic() - self.since > LAST_ANSWERS_SECONDS:
                raise _Enough

    def _nothing_but_refusals(self) -> MsmError | None:
        engine = self.tables[0].job.content.engine
        if self.answered or len(self.refused) < FIRST_REFUSED or engine in DETERMINISTIC:
            return None
        table = next(table for table in self.tables if table.refused)
        return QualityGateError(
            f"The engine refused {len(self.refused)} different rows and answered none, for example with: "
            f"{next(iter(table.refused.values()))}\n{table.ask_again()}"
        )
