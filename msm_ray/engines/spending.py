"""A limit on what writing may cost: the most that a request can still cost is put aside before it is sent, so it is never passed.

One account a run, an actor on the driver's node that all askers of endpoints share. What was spent stands in `spend.jsonl` below
the root, a line a request (or a batch), written before its answer is used, in one go with those that came meanwhile; a killed run
leaves out what was in flight at that moment and nothing else. (Batches are not: `batch_journal` knows them.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.engines.batch_journal import JOURNAL as BATCHES
from msm_ray.engines.batch_journal import outstanding_dollars
from msm_ray.engines.shared import Shared, share
from msm_ray.rows.journal import read_journal
from msm_ray.rows.tables import unwritable
from msm_ray.storage import place
from msm_ray.whole_files import add_line

if TYPE_CHECKING:
    from msm_ray.engines.settings import EngineSettings

JOURNAL = "spend.jsonl"
BATCH_PRICE = 0.5
"""Of the usual price, for what is asked by batches (OpenAI's, and others' who have them)."""
OVERHEAD = 64
"""Tokens of a prompt beside its text: roles and marks of a chat template."""
LATE = 60.0
"""Seconds that a request may wait for its turn, beside those that it may take."""


@dataclass(frozen=True)
class Spending:
    """What a run may spend. journal: of what was spent; limit: in dollars, over all runs under this root (None: only counted)."""

    journal: Path | None = None
    limit: float | None = None
    _shared: dict[Hashable, Shared] = field(default_factory=dict, compare=False, repr=False)

    def spent(self) -> float:
        """Dollars so far."""
        return sum(line["dollars"] for line in read_journal(self.journal)) if self.journal else 0.0

    def open(self) -> Shared:
        """The account of this run: the same for whoever opens it. Needs a journal."""
        return self.shared("account", Account, *self._account())

    def account(self) -> Account:
        """An account of one's own, in this process."""
        return Account(*self._account())

    def _account(self) -> tuple[str, float, float, float, frozenset[str]]:
        limit = self.limit if self.limit is not None else float("inf")
        lines = read_journal(self.journal) if self.journal else []  # once: in a bucket it is many objects
        paid = frozenset(line["batch"] for line in lines if "batch" in line)
        owed = outstanding_dollars(self.batches, paid) if self.batches else 0.0
        return str(self.journal), limit, sum(line["dollars"] for line in lines), owed, paid

    @property
    def batches(self) -> Path | None:
        """The journal of batches that were sent (`batch_journal`)."""
        return self.journal and self.journal.with_name(BATCHES)

    def shared(self, name: Hashable, kind: type, *arguments: Any) -> Shared:
        """An object that all of this run's askers share, made when it is first asked for; it lives as long as the run."""
        if name not in self._shared:
            self._shared[name] = share(kind, *arguments)
        return self._shared[name]


class Account:
    """Dollars that are spent, put aside, and owed: what batches of earlier runs may still cost that nobody waits for yet.

    paid: ids of batches whose cost is noted. Every method is called from many requests at once.

    Whoever dies takes nothing back that was put aside for its requests. Where others wait for that money and nothing was heard of
    any request for longer than one may take, it is counted as spent, which is the most that it can be: `unheard`.
    """

    def __init__(self, journal: str, limit: float, spent: float, owed: float = 0.0, paid: Iterable[str] = ()):
        self.journal, self.limit, self.spent, self.owed, self.aside = place(journal), limit, spent, owed, 0.0
        self.paid = set(paid)
        self.of_requests, self.longest, self.heard, self.unheard = 0.0, 0.0, 0.0, 0.0
        self.changed = asyncio.Condition()
        self.lines = Lines(self.journal)

    async def put_aside(self, most: float, seconds: float | None = None) -> str:
        """Wait until `most` dollars are free and put them aside; "", or why they will never be.

        seconds: that a request may take; None: it goes with a batch, which is never lost: its own journal knows it.
        """
        async with self.changed:
            while self._passed_by(most) and self.aside > 0 and not self.lines.trouble:
                await self._news()
            if self.lines.trouble:
                return self.lines.trouble
            if self._passed_by(most):
                return self._refusal(most)
            self.aside += most
            if seconds is not None:
                self.of_requests, self.heard = self.of_requests + most, time.monotonic()
                self.longest = max(self.longest, seconds)
            return ""

    def _passed_by(self, most: float) -> bool:
        return self.spent + self.owed + self.aside + most > self.limit

    def _refusal(self, most: float) -> str:
        unheard = f" (${self.unheard:.2f} of it perhaps, for requests of which nothing more was heard)"
        owed = f", batches of an earlier run may still cost ${self.owed:.2f}" if self.owed else ""
        return (
            f"the spend limit of ${self.limit:.2f} would be passed: ${self.spent:.2f} are spent{unheard if self.unheard else ''}"
            f"{owed}, and the next request may cost ${most:.4f}; raise writer.spend_limit to go on"
        )

    async def _news(self) -> None:
        """Wait until something is settled, or until no request that is on its way can be alive any more."""
        left = self.heard + self.longest + LATE - time.monotonic() if self.of_requests else None
        if left is None or left > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.changed.wait()
            return
        lost = self.of_requests
        self.unheard += lost
        self._settle(lost, lost, {"id": "requests of which nothing more was heard"})
        await self.lines.written()

    async def adopt(self, most: float, batch: str) -> None:
        """A batch of an earlier run is waited for now: what is owed for it is settled like what is put aside."""
        async with self.changed:
            if batch not in self.paid:
                self.owed = max(0.0, self.owed - most)
            self.aside += most

    async def settle(self, most: float, cost: float, what: Mapping[str, Any]) -> str:
        """Take back what was put aside and note what a request, or a batch of them, really cost: of each batch once.

        Returns "", or why that can't be written. It is counted here then, written with the next if that can be, and nothing more
        may be spent.
        """
        async with self.changed:
            self._settle(most, cost, what)
        if told := await self.lines.written():
            async with self.changed:
                self.changed.notify_all()
        return told

    def _settle(self, most: float, cost: float, what: Mapping[str, Any]) -> None:
        self.aside = _or_nothing(self.aside - most)
        if "batch" not in what:
            self.of_requests, self.heard = _or_nothing(self.of_requests - most), time.monotonic()
        if cost and what.get("batch") not in self.paid:
            self.spent += cost
            self.lines.add(json.dumps({"dollars": cost, **what}))
        self.paid |= {what["batch"]} if what.get("batch") else set()
        self.changed.notify_all()


class Lines:
    """Lines on their way into a journal. What comes while others are being written goes with the next write: a bucket takes
    some 20 ms for each, however much it is. trouble: why those that wait could not be written."""

    def __init__(self, journal: Path):
        self.journal, self.trouble = journal, ""
        self.waiting: list[str] = []
        self.begun = 0
        self.writing = asyncio.Lock()

    def add(self, line: str) -> None:
        """One more."""
        self.waiting.append(line)

    async def written(self) -> str:
        """When all that were added before are written: "", or why they can't be."""
        begun = self.begun
        async with self.writing:
            if self.waiting and begun == self.begun:  # else a write that began since had these among its lines
                self.begun += 1
                lines, self.waiting = self.waiting, []
                try:
                    await self._write("\n".join(lines))
                    self.trouble = ""
                except Exception as error:  # of a disk, or of any library of a bucket
                    self.waiting = lines + self.waiting
                    self.trouble = str(unwritable(self.journal, error)) if isinstance(error, OSError) else str(error)
            return self.trouble

    async def _write(self, text: str) -> None:
        if isinstance(self.journal, Path):
            add_line(self.journal, text)
        else:
            await asyncio.to_thread(add_line, self.journal, text)


def _or_nothing(amount: float) -> float:
    """Sums of dollars that came and went leave a rest that is none."""
    return amount if amount > 1e-9 else 0.0


def most_dollars(settings: EngineSettings, row: Mapping[str, Any]) -> float:
    """The most that a request can cost: a token has at least a byte, and an answer no more tokens than it may have."""
    said = "".join(message["content"] for message in row["messages"]) if settings.chat else row["prompt"]
    read = len(said.encode()) + OVERHEAD + len(row["json_schema"] if settings.structured else "")
    return dollars(settings, read, row["max_tokens"])


def dollars(settings: EngineSettings, read: int, written: int) -> float:
    """What so many tokens cost; nothing where no prices are known."""
    of_input, of_output = asked_prices(settings) or (0.0, 0.0)
    return (read * of_input + written * of_output) / 1e6


def asked_prices(settings: EngineSettings) -> tuple[float, float] | None:
    """Dollars per million tokens as they are asked for: by batches for less."""
    share = BATCH_PRICE if settings.batch else 1.0
    return (settings.prices[0] * share, settings.prices[1] * share) if settings.prices else None
