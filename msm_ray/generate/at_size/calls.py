"""Calls by the hundred thousand: what the driver knows of the requests of a step, and what a worker makes of some of them.

Of a request workers are sent what it is about, of a row in a file its place there; prompts, ids and values are made and read by
them. The driver has ids, tries and the places of answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msm_ray.engines import EngineSettings
from msm_ray.errors import MsmError
from msm_ray.generate.at_size.plan import TRIES, Plan, cut, where
from msm_ray.generate.at_size.worker import Ended, Given, Guard
from msm_ray.generate.calls import Asked, Call, Requests
from msm_ray.generate.calls.answers import AnswerFiles, Answers, ByRequest
from msm_ray.generate.calls.table import Begun, CallRows, why_not
from msm_ray.generate.writer import Writer
from msm_ray.rows.by_place import Made
from msm_ray.rows.ids import unpacked
from msm_ray.workers import Workers

TOGETHER = 512
"""Requests that a worker looks at in one go."""
Make = Callable[[Any], Asked]
Kind = tuple[str, bool]
"""A call's name and whether its answers keep to a schema: what decides who is asked."""


class CallPlan(Plan):
    """The requests of one step of a conversation. workers: who look at them, as it is then: engines that have come up since may
    hold every CPU; told: of how many they did, as they do.

    A request that is there twice is asked once; `requests` are those that differ.
    """

    def __init__(
        self,
        number: int,
        asked: Sequence[Asked],
        answers: Answers,
        writers: Mapping[str, Writer],
        workers: Callable[[], Workers],
        told: Callable[[int], None] = lambda count: None,
    ):
        self.step, self.answers, self.writers, self.workers = Requests.of(asked), answers, writers, workers
        self._calls: dict[Kind, Call] = {}
        self._call_of = np.zeros(len(asked), np.uint8)
        self._look_at_all(told)
        super().__init__(number, answers.out, self.step.ids)
        self.turn: EngineSettings | None = None
        """Of whose requests alone is spoken; None: of all."""
        self._first = np.zeros(len(asked), bool)
        self._first[np.unique(self.ids, return_index=True)[1]] = True
        self.requests = int(self._first.sum())
        self.answers.flush()
        self.look()

    def _look_at_all(self, told: Callable[[int], None]) -> None:
        """Ids and calls of all requests, which take their prompts."""
        parts, workers = cut(np.arange(len(self.step), dtype=np.int32), TOGETHER), self.workers()
        make = workers.share(self.step.make)
        jobs = Made(len(parts), lambda number: (make, self.step.things_at(parts[number])))
        for number, ((ids, calls, which),) in workers.each(_look, jobs):
            self.step.ids[parts[number]] = ids
            self._calls = self._calls | calls
            kinds = list(self._calls)
            self._call_of[parts[number]] = np.array([kinds.index(kind) for kind in calls], np.uint8)[which]
            told(len(parts[number]))

    def __len__(self) -> int:
        return self.requests

    @property
    def calls(self) -> list[str]:
        """The names of the calls that are made, of each kind."""
        return [name for name, _ in self._calls]

    @property
    def asked(self) -> Set[EngineSettings]:
        """Those of pending requests."""
        engines = self._engines()
        return {engines[call] for call in np.unique(self._call_of[self.pending()]).tolist()}

    def _engines(self) -> list[EngineSettings]:
        """One for each kind of call."""
        return [self.writers[name].engine(structured=structured) for name, structured in self._calls]

    def job(self) -> CallJob:
        """The same in every pass, but for whether any request was answered yet, in this step or an earlier one."""
        answered = self.answers.answered > 0
        return CallJob(self.out, self.step.make, list(self._calls.values()), self.writers, answered)

    def given(self, places: NDArray[np.int32]) -> Any:
        """What they are about, and which calls they are."""
        return self.step.things_at(places), self._call_of[places]

    def recover(self) -> None:
        """Of answers."""
        self.answers.recover()
        self.answers.take_up()

    def look(self, believed: bool = False) -> None:
        """Read anew what was answered and is not known to be of use.

        Where workers died, what they told may have been lost with them. Tries of refused requests count in this run.
        """
        known, refused = self.answers.by_request, list(self.refused)
        if not believed:
            in_this_run = self.tries[refused]
            self.done[:], self.tries[:] = False, 0
            self.tries[refused] = in_this_run
        waiting = where(~self.done & self._first)
        parts = cut(waiting[[unpacked(one) in known for one in self.ids[waiting]]], TOGETHER)
        if not parts:
            return
        workers = self.workers()
        make = workers.share(self.step.make)

        def job(number: int) -> tuple[Any, ...]:
            ids = self.ids[parts[number]]
            return make, self.step.things_at(parts[number]), ids, known.part(map(unpacked, ids))

        jobs = Made(len(parts), job)
        for number, ((usable, tries),) in workers.each(_read, jobs):
            self.done[parts[number]] = usable
            self.tries[parts[number]] = np.maximum(self.tries[parts[number]], tries)

    def pending(self) -> NDArray[np.int32]:
        """Places of requests without a usable answer and with tries left."""
        attempts = np.array([self.writers[name].where.attempts for name in self.calls], np.int64)
        if not len(attempts):
            return np.zeros(0, np.int32)
        waiting = where(self._first & ~self.done & (self.tries < attempts[self._call_of]))
        if self.turn is None:
            return waiting
        theirs = np.array([engine == self.turn for engine in self._engines()])
        return waiting[theirs[self._call_of[waiting]]]

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why the conversation can't go on, if it can't."""
        refused = [reason for place, reason in self.refused.items() if not self.done[place]]
        asked_by = [self.writers[name] for name in self.calls]
        unsettled = stopped if len(self.pending()) else None
        return why_not(len(self), self.lost, refused, self.answers, asked_by, unsettled)


def _look(make: Make, things: Sequence[Any]) -> tuple[NDArray[np.bytes_], dict[Kind, Call], NDArray[np.uint8]]:
    """In a worker: (ids of the requests about things, a call of each kind among them, which of these each is)."""
    step, calls, which = Requests(things, make), dict[Kind, Call](), list[Kind]()
    for each in step:
        assert each.id  # is kept by `step`
        which.append((each.call.name, each.call.schema is not None))
        calls.setdefault(which[-1], each.call)
    kinds = list(calls)
    return step.ids, calls, np.array([kinds.index(kind) for kind in which], np.uint8)


def _read(
    make: Make, things: Sequence[Any], ids: NDArray[np.bytes_], answers: ByRequest
) -> tuple[NDArray[np.bool_], NDArray[np.uint16]]:
    """In a worker: whether requests have an answer that can be used, and how often a model answered them."""
    found = [answers.decisive(each) for each in Requests(things, make, ids.copy())]
    return np.array([not each.reason for each in found], bool), np.array([each.tries for each in found], TRIES)


@dataclass(frozen=True)
class CallJob:
    """A step as workers have it. answered: whether any request of the conversation was, before this pass."""

    out: Path
    make: Make
    calls: Sequence[Call]
    writers: Mapping[str, Writer]
    answered: bool

    def begin(self, writer: str, rows: int, seconds: float, guard: Guard) -> CallShare:
        """A worker's part."""
        return CallShare(self, WaitingAnswers(self.answered, self.out, rows, seconds, writer, guard))


class WaitingAnswers(AnswerFiles):
    """Answers of a worker: those of one block wait with the others' for their file. before: whether there are others."""

    def __init__(self, before: bool, out: Path, *how: Any):
        super().__init__(out, *how)
        self.before = before

    @property
    def answered(self) -> int:
        """Answers that came from a model, of any use or not."""
        return super().answered + self.before

    def flush(self) -> None:
        """Nothing: a block is settled, and its answers are safe."""

    def write(self) -> None:
        """Write what waits."""
        super().flush()


@dataclass(frozen=True)
class CallShare:
    """A worker's part in a step."""

    job: CallJob
    answers: WaitingAnswers

    def block(self, given: Given) -> CallBlock:
        """Some of its requests."""
        things, calls = given.beside
        asked = Requests(things, self.job.make, given.ids.copy())
        rows = zip(given.keys(), calls.tolist(), given.tries.tolist(), strict=True)
        begun = (Begun(place, key, self.job.calls[call], tries) for place, (key, call, tries) in enumerate(rows))
        return CallBlock(given.places, CallRows(0, asked, self.answers, self.job.writers, begun))

    def tick(self) -> None:
        """Write what is due."""
        self.answers.tick()

    def flush(self) -> None:
        """Write what waits."""
        self.answers.write()


@dataclass(frozen=True)
class CallBlock:
    """A block of requests."""

    places: NDArray[np.int32]
    table: CallRows

    @property
    def tokens(self) -> int:
        """Of the answers that came."""
        return self.table.tokens

    def ends(self) -> Iterator[Ended]:
        """How each stands."""
        rows = self.table
        for number, (place, key) in enumerate(zip(self.places.tolist(), rows.ids, strict=True)):
            tries, usable, over = rows.stands(number)
            yield Ended(place, tries, usable, over, rows.lost.get(key), rows.refused.get(key))
