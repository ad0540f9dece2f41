"""Engines for tests: one that answers in some order and is killed in the middle, and one that has a row at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from misbehaving import Raw
from scripted_writer import number

from msm_ray.engines.open import Engines
from msm_ray.generate.shards import GrowingTable
from msm_ray.rows import tables

Row = dict[str, Any]
Order = Callable[[Sequence[Row]], Sequence[Row]]
ORDERS: dict[str, Order] = {
    "as asked": lambda rows: rows,
    "backwards": lambda rows: rows[::-1],
    "by hash": lambda rows: sorted(rows, key=lambda row: number(row["id"])),
}
TURNS = 8
"""Turns of the event loop in which an answer has surely been taken."""
TABLE = 16
"""Rows of a file here, so that there is something on disk when a run is killed."""


class Killed(BaseException):
    """The process is gone: nothing that it still held is written."""


def stand_in(monkeypatch: pytest.MonkeyPatch, engine: Any) -> None:
    """Have every engine that is opened be this one."""
    monkeypatch.setattr(Engines, "opener", lambda engines, settings: lambda: engine)


class InTurn:
    """An engine that has one row at a time. ends: how a row gets no answer, (failure, error) by its position."""

    in_flight = 1

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: dict[int, tuple[str, str]]):
        self.ends, self.asked = ends, list[int]()
        stand_in(monkeypatch, self)

    async def ready(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def answer(self, row: Row) -> Row:
        self.asked.append(row["position"])
        failure, error = self.ends.get(row["position"], ("", ""))
        text = "" if failure else f"<content>Document {row['position']}.</content>"
        counts = {"num_input_tokens": 1, "num_generated_tokens": 1}
        return counts | {"completion": text, "finish_reason": "stop", "error": error, "failure": failure}


class Model:
    """An engine that has all rows at once and answers in some order. dies_after: answers; writes: files, before it dies."""

    in_flight = 10**9

    def __init__(self, monkeypatch: pytest.MonkeyPatch, says: Callable[[Row], Raw], order: str = "as asked"):
        self.says, self.order, self.asked = says, ORDERS[order], list[tuple[str, int]]()
        self.dies_after, self.writes = 10**9, 10**9
        self.had: list[tuple[Row, asyncio.Future[Row]]] = []
        self.answering: asyncio.Task[None] | None = None
        stand_in(monkeypatch, self)
        monkeypatch.setattr(tables, "settle", lambda path: None)  # a process that is killed takes no disk with it
        monkeypatch.setattr(GrowingTable, "due", lambda table: len(table.waiting) >= TABLE)
        monkeypatch.setattr(GrowingTable, "flush", self._flush(GrowingTable.flush))

    async def ready(self) -> None:
        self.had, self.answering = [], None

    async def close(self) -> None:
        pass

    async def answer(self, row: Row) -> Row:
        future = asyncio.get_running_loop().create_future()
        self.had.append((row, future))
        if self.answering is None:
            self.answering = asyncio.get_running_loop().create_task(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        """What has come by now, in the model's order, each taken before the next; dead, it writes nothing."""
        while self.had:
            had, self.had = self.had, []
            futures = {id(row): future for row, future in had}
            for row in self.order([row for row, _ in had]):
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                if self.dies_after == 0:
                    self.writes = 0
                    futures[id(row)].set_exception(Killed())
                    return
                self.dies_after -= 1
                self.asked.append((row["id"], row["attempt"]))
                text, finish = self.says(row)
                counts = {"num_input_tokens": 1, "num_generated_tokens": 1}
                told = {"completion": text, "finish_reason": finish, "error": "", "failure": ""}
                if not futures[id(row)].done():  # cancelled by then
                    futures[id(row)].set_result(counts | told)
        self.answering = None

    def _flush(self, write: Callable[[GrowingTable], None]) -> Callable[[GrowingTable], None]:
        def flush(table: GrowingTable) -> None:
            if table.waiting and self.writes == 0:
                raise Killed
            self.writes -= bool(table.waiting)
            write(table)

        return flush

    def killed(self, doing: Callable[[], object], dies_after: int = 10**9, writes: int = 10**9) -> None:
        """Do something until it is killed in the middle."""
        self.dies_after, self.writes = dies_after, writes
        with pytest.raises(Killed):
            doing()
        self.dies_after, self.writes = 10**9, 10**9
