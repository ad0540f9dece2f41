"""Where conversations meet a writer: each step of all of them through one start of an engine, every answer kept.

A step of very many requests goes through Ray's workers (`at_size/calls.py`); what comes of it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msm_ray import progress
from msm_ray.ahead import NOTHING_AHEAD
from msm_ray.engines import DETERMINISTIC
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError, OutOfMeans
from msm_ray.generate.asking import address, ask
from msm_ray.generate.at_size import AT_SIZE
from msm_ray.generate.at_size.calls import CallPlan
from msm_ray.generate.at_size.passes import ask_at_size
from msm_ray.generate.calls import Asked, Conversation
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.calls.holding import hold
from msm_ray.generate.calls.table import CallRows, begun, outcome
from msm_ray.generate.writer import Writer
from msm_ray.workers import WORTH_RAY, workers_for

Result = TypeVar("Result")


@dataclass(frozen=True)
class Talk:
    """One stage's conversation. out: its folder; writers: by the names of the calls that it may make."""

    out: Path
    conversation: Conversation[Any]
    writers: Mapping[str, Writer]


@dataclass(frozen=True)
class Desk:
    """Where questions are asked."""

    engines: Engines

    def hold(
        self,
        talks: Mapping[str, Talk],
        on_result: Callable[[str, Any, Answers], None] = lambda key, result, answers: None,
    ) -> dict[str, Any | MsmError]:
        """The result of each conversation, or why it has none. Raises OutOfMeans at once."""
        answers = {key: Answers(talk.out) for key, talk in talks.items()}

        def answering(asked: Mapping[str, Sequence[Asked]]) -> dict[str, Sequence[Any] | MsmError]:
            return self._answer({key: Step(asked[key], answers[key], talks[key].writers) for key in asked})

        return hold(
            {key: talk.conversation for key, talk in talks.items()},
            answering,
            lambda key, result: on_result(key, result, answers[key]),
        )

    def _answer(self, steps: Mapping[str, Step]) -> dict[str, Sequence[Any] | MsmError]:
        many = sum(len(step.asked) for step in steps.values()) > AT_SIZE
        problems = self._ask_at_size(steps) if many and not _looked_up(steps) else self._ask(steps)
        return {key: problems[key] or outcome(step.asked, step.answers) for key, step in steps.items()}

    def _ask(self, steps: Mapping[str, Step]) -> dict[str, MsmError | None]:
        """In this process. Returns for each why it can't go on, if it can't."""
        tables = {
            key: CallRows(number, step.asked, step.answers, step.writers, begun(step.asked, step.answers))
            for number, (key, step) in enumerate(steps.items())
        }
        calls = dict.fromkeys(name for table in tables.values() for name in table.calls)
        total = sum(len(table) for table in tables.values())
        done = sum(table.settled for table in tables.values())
        stopped: MsmError | None = None
        try:
            with progress.task("", total, _answers(calls), done=done, waits_for="the engine") as work:
                ask(list(tables.values()), self.engines, work)
        except OutOfMeans:
            raise
        except MsmError as error:
            stopped = error
        return {key: table.problem(stopped) for key, table in tables.items()}

    def _ask_at_size(self, steps: Mapping[str, Step]) -> dict[str, MsmError | None]:
        """The same by Ray's workers."""
        workers = partial(workers_for, WORTH_RAY, self.engines.need_ray)
        with progress.task(
            "", sum(len(step.asked) for step in steps.values()), "requests", waits_for="workers"
        ) as work:
            plans = {
                key: CallPlan(number, step.asked, step.answers, step.writers, workers, work.advance)
                for number, (key, step) in enumerate(steps.items())
            }
        calls = dict.fromkeys(name for plan in plans.values() for name in plan.calls)
        total = sum(len(plan) for plan in plans.values())
        done = total - sum(len(plan.pending()) for plan in plans.values())
        with progress.task("", total, _answers(calls), done=done, waits_for="the engine") as work:
            stopped = self._engine_by_engine(list(plans.values()), work)
        return {key: plan.problem(stopped) for key, plan in plans.items()}

    def _engine_by_engine(self, plans: Sequence[CallPlan], work: progress.Task) -> MsmError | None:
        """One after the other, as in this process: where one is down, others are asked all the same. Returns the first error."""
        stopped: MsmError | None = None
        down: set[tuple[str, str, str | None]] = set()
        for asked in dict.fromkeys(each for plan in plans for each in plan.asked):
            for plan in plans:
                plan.turn = asked
            error = ask_at_size(plans, self.engines, work, NOTHING_AHEAD) if address(asked) not in down else None
            if isinstance(error, OutOfMeans):
                raise error
            if error:
                down.add(address(asked))
                stopped = stopped or error
        for plan in plans:
            plan.turn = None
        return stopped


@dataclass(frozen=True)
class Step:
    """What a conversation asks in one step."""

    asked: Sequence[Asked]
    answers: Answers
    writers: Mapping[str, Writer]


def _looked_up(steps: Mapping[str, Step]) -> bool:
    """Whether some answers are looked up, as recorded ones are: that takes no worker."""
    return any(writer.who.engine in DETERMINISTIC for step in steps.values() for writer in step.writers.values())


def _answers(calls: Iterable[str]) -> str:
    return f"answers ({', '.join(calls)})"
