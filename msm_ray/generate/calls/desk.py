"""Where conversations meet a writer: each step of all of them through one start of an engine, every answer kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msm_ray import progress
from msm_ray.engines.open import Engines
from msm_ray.errors import MsmError, OutOfMeans
from msm_ray.generate.asking import ask
from msm_ray.generate.calls import Asked, Conversation
from msm_ray.generate.calls.answers import Answers
from msm_ray.generate.calls.holding import hold
from msm_ray.generate.calls.table import CallRows
from msm_ray.generate.writer import Writer

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
            return self._answer({key: (asked[key], answers[key], talks[key].writers) for key in asked})

        return hold(
            {key: talk.conversation for key, talk in talks.items()},
            answering,
            lambda key, result: on_result(key, result, answers[key]),
        )

    def _answer(
        self, steps: Mapping[str, tuple[Sequence[Asked], Answers, Mapping[str, Writer]]]
    ) -> dict[str, Sequence[Any] | MsmError]:
        tables = {key: CallRows(number, *step) for number, (key, step) in enumerate(steps.items())}
        calls = dict.fromkeys(name for table in tables.values() for name in table.calls)
        total = sum(len(table) for table in tables.values())
        done = sum(table.settled for table in tables.values())
        stopped: MsmError | None = None
        try:
            with progress.task("", total, f"answers ({', '.join(calls)})", done=done, waits_for="the engine") as work:
                ask(list(tables.values()), self.engines, work)
        except OutOfMeans:
            raise
        except MsmError as error:
            stopped = error
        return {key: table.outcome(stopped) for key, table in tables.items()}
