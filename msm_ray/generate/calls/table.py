"""The requests of one step of one conversation, as rows to be asked (`askable.Table`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msm_ray.engines import EngineSettings
from msm_ray.engines.replay import NOT_RECORDED
from msm_ray.errors import MsmError, QualityGateError, StageError
from msm_ray.generate.askable import Render
from msm_ray.generate.asking import AGAIN
from msm_ray.generate.calls import Asked
from msm_ray.generate.calls.answers import Answers, read_answer
from msm_ray.generate.writer import Writer
from msm_ray.rows.schemas import Row
from msm_ray.whole_files import write_whole

ENGINE_FAILED = "engine: "
FEWEST_FOR_A_SHARE = 20
"""Requests of a step from which on a share of refused ones says something."""
UNANSWERED = "unanswered.jsonl"


class CallRows:
    """Requests and what came of them. writers: who answers each call."""

    def __init__(self, number: int, asked: Sequence[Asked], answers: Answers, writers: Mapping[str, Writer]):
        self.number, self.asked, self.answers, self.writers = number, list(asked), answers, writers
        self.by_id = {each.id: each for each in self.asked}
        self.values: dict[str, Any] = {}
        self.tries: dict[str, int] = {}
        self.lost: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.not_recorded: set[str] = set()
        for key, each in self.by_id.items():
            self._recall(key, each)

    def _recall(self, key: str, asked: Asked) -> None:
        """What was answered before: the first answer that can be used counts."""
        for answer in self.answers.by_request.get(key, ()):
            if (answer["reason"] or "").startswith(ENGINE_FAILED):
                continue  # of an earlier run: what refused it may have been mended since
            self.tries[key] = self.tries.get(key, 0) + 1
            value, reason = read_answer(asked, answer)
            if not reason:
                self.values[key] = value
                return

    @property
    def attempts(self) -> int:
        """Tries of a request."""
        return max((self._writer(each).where.attempts for each in self.asked), default=1)

    @property
    def no_progress_minutes(self) -> float:
        """Without an answer for so long the asking stops."""
        return max((self._writer(each).where.patience_minutes for each in self.asked), default=10)

    @property
    def enough(self) -> bool:
        """Every request of a step is needed."""
        return False

    @property
    def portion(self) -> int | None:
        """All requests of a step at once."""
        return None

    @property
    def answered(self) -> bool:
        """Whether a request was answered already, in this step or an earlier one."""
        return any(
            not (row["reason"] or "").startswith(ENGINE_FAILED)
            for each in self.answers.by_request.values()
            for row in each
        )

    @property
    def usable(self) -> int:
        """Requests with a usable answer, in this step."""
        return len(self.values)

    @property
    def settled(self) -> int:
        """Requests that need not be asked any more."""
        return len(self.by_id) - len(self.pending())

    def pending(self) -> list[Row]:
        """Requests without a usable answer and with tries left."""
        return [
            self._row(place, key, each)
            for place, (key, each) in enumerate(self.by_id.items())
            if key not in self.values and self.tries.get(key, 0) < self._writer(each).where.attempts
        ]

    def _row(self, place: int, key: str, asked: Asked) -> Row:
        call, who = asked.call, self._writer(asked).who
        return {
            "job": self.number,
            "id": key,
            "position": place,
            "attempt": self.tries.get(key, 0) + 1,
            "temperature": call.temperature if who.temperature is None else who.temperature,
            "top_p": 1.0 if who.top_p is None else who.top_p,
            "max_tokens": who.max_tokens or call.max_tokens,
            "messages": asked.messages,
            "json_schema": json.dumps(call.schema) if call.schema else "",
        }

    def room(self, in_flight: int) -> bool:
        """Every request of a step is asked."""
        return True

    def again(self, row: Row) -> Row | None:
        """A request as it is asked the next time, where it has no usable answer and tries left."""
        key, asked = row["id"], self.by_id[row["id"]]
        if key in self.values or self.tries.get(key, 0) >= self._writer(asked).where.attempts:
            return None
        return self._row(row["position"], key, asked)

    def engine(self, row: Row) -> EngineSettings:
        """The engine of the call's writer."""
        asked = self.by_id[row["id"]]
        return self._writer(asked).engine(structured=asked.call.schema is not None)

    def render(self, asked: EngineSettings) -> Render:
        """Prompts are in the rows already."""
        return as_they_are if asked.chat else as_one_text

    def settle(self, row: Row) -> bool:
        """Read an answer and keep it."""
        key = row["id"]
        self.lost.pop(key, None)
        if key in self.values:
            return False  # a restarted actor may answer twice
        asked = self.by_id[key]
        if row["error"] == NOT_RECORDED:
            self.not_recorded.add(key)
            return True
        if row["failure"]:
            value, reason = None, ENGINE_FAILED + row["error"]
            self.refused[key] = reason
        else:
            value, reason = read_answer(asked, {"raw": row["completion"], "finish_reason": row["finish_reason"]})
        self.tries[key] = self.tries.get(key, 0) + 1
        writer = self._writer(asked)
        by = {"engine": writer.who.engine, "generator": row.get("generator") or writer.generator}
        self.answers.add(asked, row | by | {"reason": reason})
        if not reason:
            self.values[key] = value
        return not reason or self.tries[key] >= writer.where.attempts

    def tick(self) -> None:
        """Write what is due."""
        self.answers.tick()

    def flush(self) -> None:
        """Write what waits."""
        self.answers.flush()

    def ask_again(self) -> str:
        """What can be done about refused requests."""
        return (
            f"They are in {self.answers.out / 'answers'}. Change what is refused (the model, its limits, the spec), or raise "
            "writer.most_refused to go on without them; remove that folder to have all of them asked again."
        )

    def outcome(self, stopped: MsmError | None) -> Sequence[Any] | MsmError:
        """The values of the requests in order (None: no usable answer), or why the conversation can't go on."""
        if self.not_recorded:
            return self._unrecorded()
        if stopped and self.pending():
            return stopped
        if self.lost:
            first = next(iter(self.lost.values()))
            return StageError(
                f"{len(self.lost)} of {len(self.by_id)} requests were lost, for example with: {first}\n{AGAIN}"
            )
        refused = [reason for key, reason in self.refused.items() if key in self.by_id and key not in self.values]
        if refused and not any(not row["reason"] for answers in self.answers.by_request.values() for row in answers):
            return QualityGateError(
                f"The engine refused {len(refused)} of {len(self.by_id)} requests, and none was ever answered, for example with: "
                f"{refused[0]}\n{self.ask_again()}"
            )
        most = max(self._writer(each).where.most_refused for each in self.asked) if self.asked else 1.0
        if len(self.by_id) >= FEWEST_FOR_A_SHARE and len(refused) > most * len(self.by_id):
            return QualityGateError(
                f"The engine refused {len(refused)} of {len(self.by_id)} requests for their own sake, more than most_refused = "
                f"{most:g} of all, for example with: {refused[0]}\n{self.ask_again()}"
            )
        return [self.values.get(each.id) for each in self.asked]

    def _unrecorded(self) -> MsmError:
        """Prompts that nobody answered when the recording was made: they changed since, or are new."""
        asked = [self.by_id[key] for key in self.by_id if key in self.not_recorded]
        path = self.answers.out / UNANSWERED
        lines = [json.dumps(as_recorded(each), ensure_ascii=False) for each in asked]
        write_whole(path, "".join(line + "\n" for line in lines))
        replay = self._writer(asked[0]).who.replay
        calls = ", ".join(sorted({each.call.name for each in asked}))
        return StageError(
            f"{len(asked)} of {len(self.by_id)} requests have no recorded answer in {replay} ({calls}): the spec, the "
            f"settings or a prompt are other than when it was recorded. They stand in {path}; put them back, or have "
            "them answered by a model"
        )

    def _writer(self, asked: Asked) -> Writer:
        return self.writers[asked.call.name]


def as_recorded(asked: Asked) -> Row:
    """A request as a line of a recording, its answer (`completion`) still missing."""
    call = asked.call
    said = {"id": asked.id, "call": call.name, "about": asked.about, "sample": asked.sample}
    return said | {"messages": asked.messages, "schema": call.schema}


def as_they_are(row: Row) -> Row:
    """Nothing to add: messages are in the row."""
    return {}


def as_one_text(row: Row) -> Row:
    """The prompt of a writer that goes on from a text."""
    return {"prompt": "\n\n".join(message["content"] for message in row["messages"]) + "\n\n"}
