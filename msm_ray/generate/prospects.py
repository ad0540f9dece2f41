"""Whether there is any sense in asking an engine for more, by what has come of what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from msm_ray.engines import DETERMINISTIC, EngineSettings
from msm_ray.errors import QualityGateError
from msm_ray.generate.askable import Table
from msm_ray.rows.schemas import Row

FIRST_REFUSED = 20
"""So many different rows refused and none ever answered: the request is wrong, not the rows."""
FIRST_UNUSABLE = 60
"""So many different rows answered and not one of the answers of any use: the writer cannot do what is asked."""


class Prospects:
    """What one engine has made of its rows: refused, answered to no use, or of use.

    An engine that only looks up or composes always has prospects: what it says costs nothing.
    """

    def __init__(self, tables: Sequence[Table], asked: EngineSettings):
        self._tables, self._asked = tables, asked
        self._refused: dict[str, Table] = {}
        self._unusable: dict[str, str] = {}
        self._answered = any(table.answered for table in tables)

    def refused(self, table: Table, row: Row) -> None:
        """The engine refused the row for its own sake."""
        self._refused[row["id"]] = table

    def answered(self, row: Row, usable: bool) -> None:
        """The engine answered the row; `usable`: something can be made of the answer."""
        self._answered = True
        if not usable:
            self._unusable[row["id"]] = row["completion"][:300]

    def hopeless(self) -> QualityGateError | None:
        """Why asking for more makes no sense: nothing that came was of any use. None where it does."""
        if self._asked.engine in DETERMINISTIC:
            return None
        return self._nothing_but_refusals() or self._nothing_usable()

    def _nothing_usable(self) -> QualityGateError | None:
        """Every answer so far was of no use: going on would pay for more of them."""
        if len(self._unusable) < FIRST_UNUSABLE or any(table.usable for table in self._tables):
            return None
        said = next(iter(self._unusable.values()))
        return QualityGateError(
            f"{self._asked.generator} answered {len(self._unusable)} different rows and none of the answers can be used, for "
            f"example: {said!r}\nAll are kept. Take another writer, or look at what is asked and how (docs/method.md)."
        )

    def _nothing_but_refusals(self) -> QualityGateError | None:
        if self._answered or len(self._refused) < FIRST_REFUSED:
            return None
        key, table = next(iter(self._refused.items()))
        return QualityGateError(
            f"The engine refused {len(self._refused)} different rows and answered none, for example with: "
            f"{table.refused.get(key, '')}\n{table.ask_again()}"
        )
