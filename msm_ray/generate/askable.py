"""What can be asked for: a table of rows, each of which an engine answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msm_ray.engines import EngineSettings
from msm_ray.rows.schemas import Row

Render = Callable[[Row], Row]
"""A row -> the columns that an engine needs for it (`engines`), besides those that it has. Sent to Ray's workers once."""


class Table(Protocol):
    """Rows to be answered. Each has `job` (the number of its table), `id`, `position`, `attempt`, sampling, and what it carries.

    lost: rows that the engine or the network lost, id -> error; refused: rows that the engine refused for their own sake.
    """

    lost: dict[str, str]
    refused: dict[str, str]

    @property
    def attempts(self) -> int:
        """Tries that a row gets."""

    @property
    def no_progress_minutes(self) -> float:
        """Without an answer for so long the asking stops."""

    @property
    def portion(self) -> int | None:
        """After so many rows what came of them decides how the next are asked (`render`); None: it plays no part."""

    @property
    def answered(self) -> bool:
        """Whether any row was answered already, before a kill perhaps."""

    @property
    def usable(self) -> int:
        """Rows that have a usable answer."""

    @property
    def enough(self) -> bool:
        """Whether what is there suffices, though rows are pending."""

    def pending(self) -> list[Row]:
        """Rows that have no usable answer yet, and tries left."""

    def again(self, row: Row) -> Row | None:
        """A row that was just settled, or lost, as it is asked the next time; None where it is not."""

    def room(self, in_flight: int) -> bool:
        """Whether another row should be asked for while so many are on their way."""

    def engine(self, row: Row) -> EngineSettings:
        """Who answers a row."""

    def render(self, asked: EngineSettings) -> Render:
        """How prompts are made for an engine."""

    def settle(self, row: Row) -> bool:
        """Take an answer, or the engine's refusal. Returns whether the row is settled now and was not before."""

    def tick(self) -> None:
        """Write what is due; called also while nothing comes."""

    def flush(self) -> None:
        """Write what waits."""

    def ask_again(self) -> str:
        """What can be done about refused rows."""
