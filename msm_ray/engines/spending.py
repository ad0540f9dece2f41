"""A limit on what writing may cost: the most that a request can still cost is put aside before it is sent, so it is never passed.

One account a run, an actor that all askers of endpoints share. What was spent stands in `spend.jsonl` below the root, a line a
request, written before its answer is used; a killed run leaves out what was in flight at that moment and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.rows.journal import read_journal

if TYPE_CHECKING:
    from msm_ray.engines.settings import EngineSettings

JOURNAL = "spend.jsonl"
OVERHEAD = 64
"""Tokens of a prompt beside its text: roles and marks of a chat template."""


@dataclass(frozen=True)
class Spending:
    """What a run may spend. journal: of what was spent; limit: in dollars, over all runs under this root (None: only counted)."""

    journal: Path
    limit: float | None = None

    def spent(self) -> float:
        """Dollars so far."""
        return sum(line["dollars"] for line in read_journal(self.journal))

    def open(self) -> Any:
        """The account as a Ray actor, of this run alone."""
        import ray

        limit = self.limit if self.limit is not None else float("inf")
        actor: Any = ray.remote(Account)
        return actor.options(num_cpus=0, max_concurrency=10_000).remote(str(self.journal), limit, self.spent())


class Account:
    """Dollars that are spent and put aside. Every method is called from many requests at once."""

    def __init__(self, journal: str, limit: float, spent: float):
        self.journal, self.limit, self.spent, self.aside = Path(journal), limit, spent, 0.0
        self.changed = asyncio.Condition()

    async def put_aside(self, most: float) -> str:
        """Wait until `most` dollars are free and put them aside; "", or why they will never be."""
        async with self.changed:
            while self.spent + self.aside + most > self.limit and self.aside > 0:
                await self.changed.wait()
            if self.spent + self.aside + most > self.limit:
                return (
                    f"the spend limit of ${self.limit:.2f} would be passed: ${self.spent:.2f} are spent, and the next request "
                    f"may cost ${most:.4f}; raise writer.spend_limit to go on"
                )
            self.aside += most
            return ""

    async def settle(self, most: float, cost: float, what: Mapping[str, Any]) -> None:
        """Take back what was put aside and note what a request really cost."""
        async with self.changed:
            self.aside -= most
            if cost:
                self.spent += cost
                with self.journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"dollars": cost, **what}) + "\n")
            if self.aside < 1e-9:
                self.aside = 0.0
            self.changed.notify_all()


def most_dollars(settings: EngineSettings, row: Mapping[str, Any]) -> float:
    """The most that a request can cost: a token has at least a byte, and an answer no more tokens than it may have."""
    said = "".join(message["content"] for message in row["messages"]) if settings.chat else row["prompt"]
    read = len(said.encode()) + OVERHEAD + len(row["json_schema"] if settings.structured else "")
    return dollars(settings, read, row["max_tokens"])


def dollars(settings: EngineSettings, read: int, written: int) -> float:
    """What so many tokens cost; nothing where no prices are known."""
    if settings.prices is None:
        return 0.0
    of_input, of_output = settings.prices
    return (read * of_input + written * of_output) / 1e6
