"""What Ray Data and an engine give back, without either: a model that answers in some order, and is killed in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from misbehaving import Raw
from scripted_writer import number

from msm_ray.generate import asking
from msm_ray.generate.shards import GrowingTable
from msm_ray.rows import tables

Row = dict[str, Any]
Order = Callable[[Sequence[Row]], Sequence[Row]]
ORDERS: dict[str, Order] = {
    "as asked": lambda rows: rows,
    "backwards": lambda rows: rows[::-1],
    "by hash": lambda rows: sorted(rows, key=lambda row: number(row["id"])),
}
TABLE = 16
"""Rows of a file here, so that there is something on disk when a run is killed."""


class Killed(BaseException):
    """The process is gone: nothing that it still held is written."""


class Model:
    """Stands in for Ray Data and an engine. dies_after: answers; writes: files that are written before it dies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, says: Callable[[Row], Raw], order: str = "as asked"):
        self.says, self.order, self.asked = says, ORDERS[order], list[tuple[str, int]]()
        self.dies_after, self.writes = 10**9, 10**9
        monkeypatch.setattr(asking, "build_engine", lambda *_: lambda rows: rows)
        monkeypatch.setattr(asking, "_dataset", lambda rows, renders, size: rows)
        monkeypatch.setattr(asking, "stream_rows", self._stream)
        monkeypatch.setattr(tables, "settle", lambda path: None)  # a process that is killed takes no disk with it
        monkeypatch.setattr(GrowingTable, "due", lambda table: len(table.waiting) >= TABLE)
        monkeypatch.setattr(GrowingTable, "flush", self._flush(GrowingTable.flush))

    def _stream(self, rows: Sequence[Row], minutes: float, tick: Any) -> Iterator[Row]:
        for row in self.order(rows):
            if self.dies_after == 0:
                self.writes = 0
                raise Killed
            self.dies_after -= 1
            self.asked.append((row["id"], row["attempt"]))
            text, finish = self.says(row)
            counts = {"num_input_tokens": 1, "num_generated_tokens": 1}
            yield row | counts | {"completion": text, "finish_reason": finish, "error": "", "failure": ""}

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
