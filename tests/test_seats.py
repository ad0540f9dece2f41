"""Seats at an engine that many blocks of rows ask: in the order in which they began, no prompt before there is one, one clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msm_ray.engines import EngineSettings
from msm_ray.errors import StageError
from msm_ray.generate.askable import Render
from msm_ray.generate.asking import Asking
from msm_ray.generate.seats import Seats
from msm_ray.progress import Task
from msm_ray.rows.schemas import Row

ASKED = EngineSettings(engine="endpoint", model="m", url="http://slow", section="writer")
SAID = {"finish_reason": "stop", "num_input_tokens": 1, "num_generated_tokens": 1, "failure": "", "error": ""}


@dataclass
class Engine:
    """Answers one row at a time, in some seconds; after `most` answers none any more. made: prompts that were made."""

    seconds: float = 0.0
    most: int = 1000
    raises_at: str = ""
    in_flight: int = 1
    answered: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    ahead: int = 0

    async def ready(self) -> None:
        """It always is."""

    async def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        self.ahead = max(self.ahead, len(self.made) - len(self.answered))
        if row["id"] == self.raises_at:
            raise ZeroDivisionError("of the engine")
        await asyncio.sleep(self.seconds if len(self.answered) < self.most else 1000)
        self.answered.append(row["id"])
        return SAID | {"completion": row["id"]}

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Rows:
    """A table of rows that are settled by any answer."""

    names: list[str]
    made_in: list[str]
    no_progress_minutes: float = 1.0
    lost: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    came: dict[str, str] = field(default_factory=dict)
    attempts: int = 1
    portion: int | None = None
    answered: bool = False
    enough: bool = False

    @property
    def usable(self) -> int:
        return len(self.came)

    def pending(self) -> list[Row]:
        return [{"job": 0, "id": name, "attempt": 1} for name in self.names]

    def again(self, row: Row) -> Row | None:
        return None

    def room(self, in_flight: int) -> bool:
        return True

    def engine(self, row: Row) -> EngineSettings:
        return ASKED

    def render(self, asked: EngineSettings) -> Render:
        def made(row: Row) -> Row:
            self.made_in.append(row["id"])
            return {"prompt": row["id"]}

        return made

    def settle(self, row: Row) -> bool:
        self.came[row["id"]] = row["completion"]
        return True

    def tick(self) -> None:
        """Nothing is due."""

    def flush(self) -> None:
        """Nothing waits."""

    def ask_again(self) -> str:
        return ""


def tables(engine: Engine, blocks: int, **how: Any) -> list[Rows]:
    return [Rows([f"{block}-{place}" for place in range(6)], engine.made, **how) for block in range(blocks)]


def ask(engine: Engine, blocks: list[Rows]) -> list[BaseException | None]:
    """All blocks at the same time, as in a worker. Returns what each raised."""

    async def together() -> list[BaseException | None]:
        seats = Seats(engine)
        askings = [Asking([rows], ASKED, rows.pending(), Task("", None, "")) for rows in blocks]
        return await asyncio.gather(*(asking.by(engine, seats) for asking in askings), return_exceptions=True)

    return asyncio.run(together())


def test_who_began_first_is_served_first_and_no_prompt_is_made_before_it_has_a_seat() -> None:
    engine = Engine()
    blocks = tables(engine, 5)
    assert ask(engine, blocks) == [None] * 5
    assert engine.answered == engine.made == [name for rows in blocks for name in rows.names]
    assert engine.ahead == 1 and all(list(rows.came) == rows.names for rows in blocks)


def test_waiting_for_a_seat_is_no_standstill() -> None:
    """The last block hears of nothing for five times as long as an engine may be silent."""
    engine = Engine(seconds=0.1)
    assert ask(engine, tables(engine, 5, no_progress_minutes=0.5 / 60)) == [None] * 5
    assert len(engine.answered) == 30


def test_an_engine_that_stops_answering_is_a_standstill_for_all_who_ask_it() -> None:
    engine = Engine(most=8)
    said = ask(engine, tables(engine, 3, no_progress_minutes=0.6 / 60))
    assert said[0] is None and all(isinstance(error, StageError) for error in said[1:])
    for words in (
        "no progress for 0.01 minutes",
        "writer.no_progress_minutes",
        "http://slow has answered",
        "request_seconds",
    ):
        assert words in str(said[1])


def test_seats_of_who_fails_are_given_back() -> None:
    engine = Engine(in_flight=2, raises_at="0-3")
    blocks = tables(engine, 3)
    assert [type(error) for error in ask(engine, blocks)] == [ZeroDivisionError, type(None), type(None)]
    assert list(blocks[1].came) == blocks[1].names and list(blocks[2].came) == blocks[2].names


def test_who_has_left_is_not_woken_in_place_of_who_waits() -> None:
    seats, woken = Seats(Engine()), list[int]()
    assert seats.take(1, lambda: woken.append(1))
    assert not any(seats.take(began, lambda began=began: woken.append(began)) for began in (4, 2, 3))
    seats.leave(2)
    assert woken == []
    seats.free()
    seats.pass_on()
    assert woken == [3] and seats.take(3, lambda: None)
