"""The requests of one step of one conversation, as rows to be asked (`askable.Table`)."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msm_ray.engines import EngineSettings
from msm_ray.engines.replay import NOT_RECORDED
from msm_ray.errors import MsmError, QualityGateError, StageError
from msm_ray.generate.askable import Render
from msm_ray.generate.asking import AGAIN
from msm_ray.generate.calls import Asked, Call
from msm_ray.generate.calls.answers import ENGINE_FAILED, AnswerFiles, Answers, read_answer
from msm_ray.generate.writer import Writer
from msm_ray.rows.by_place import Made
from msm_ray.rows.schemas import Row
from msm_ray.whole_files import write_whole

FEWEST_FOR_A_SHARE = 20
"""Requests of a step from which on a share of refused ones says something."""
UNANSWERED = "unanswered.jsonl"


@dataclass(frozen=True)
class Begun:
    """A request of a step as it stands. place: in the step; tries: that it had; usable: whether there is a usable answer."""

    place: int
    id: str
    call: Call
    tries: int = 0
    usable: bool = False


def begun(asked: Sequence[Asked], answers: Answers) -> Iterator[Begun]:
    """The requests of a step, each once, with what was answered before: the first answer that can be used counts."""
    seen: set[str] = set()
    for place, each in enumerate(asked):
        if each.id not in seen:
            seen.add(each.id)
            before = answers.decisive(each)
            yield Begun(place, each.id, each.call, before.tries, not before.reason)


class CallRows:
    """Requests and what came of them. writers: who answers each call.

    A request is called by its place among those that differ. Of each its id is held, how often it was tried, and whether it has a
    usable answer; what it asks, while it is with the engine.
    """

    def __init__(
        self,
        number: int,
        asked: Sequence[Asked],
        answers: AnswerFiles,
        writers: Mapping[str, Writer],
        begun: Iterable[Begun],
    ):
        self.number, self.asked, self.answers, self.writers = number, asked, answers, writers
        self.ids: list[str] = []
        self.lost: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.not_recorded: list[int] = []
        self.usable = 0
        """Requests with a usable answer, in this step."""
        self.tokens = 0
        """Of the answers that came."""
        self._at, self._tries, self._has = array("q"), array("q"), bytearray()
        self._calls: list[Call] = []
        self._with_engine: dict[int, Asked] = {}
        for each in begun:
            self._take_up(each)
        self._by_name = {call.name: call for call in self._calls}

    def _take_up(self, begun: Begun) -> None:
        """A request."""
        self.ids.append(begun.id)
        self._at.append(begun.place)
        self._tries.append(begun.tries)
        self._has.append(begun.usable)
        self._calls.append(begun.call)
        self.usable += begun.usable

    def __len__(self) -> int:
        """Requests, each counted once."""
        return len(self._at)

    @property
    def calls(self) -> list[str]:
        """The calls that are made."""
        return list(self._by_name)

    @property
    def attempts(self) -> int:
        """Tries of a request."""
        return max((self.writers[name].where.attempts for name in self._by_name), default=1)

    @property
    def no_progress_minutes(self) -> float:
        """Without an answer for so long the asking stops."""
        return max((self.writers[name].where.patience_minutes for name in self._by_name), default=10)

    @property
    def enough(self) -> bool:
        """Every request of a step is needed."""
        return False

    @property
    def portion(self) -> int | None:
        """What came of a request plays no part in how the next are asked."""
        return None

    @property
    def answered(self) -> bool:
        """Whether a request was answered already, in this step or an earlier one."""
        return self.answers.answered > 0

    @property
    def settled(self) -> int:
        """Requests that need not be asked any more."""
        return len(self) - len(self._open())

    def pending(self) -> list[Row]:
        """Requests without a usable answer and with tries left."""
        return [self._row(place) for place in self._open()]

    def _open(self) -> list[int]:
        return [place for place in range(len(self)) if self._is_open(place)]

    def _is_open(self, place: int) -> bool:
        return not self._has[place] and self._tries[place] < self._writer(place).where.attempts

    def _row(self, place: int) -> Row:
        """What waits of a request: all else is added when it is asked (`render`)."""
        return {"job": self.number, "id": self.ids[place], "position": place}

    def room(self, in_flight: int) -> bool:
        """Every request of a step is asked."""
        return True

    def again(self, row: Row) -> Row | None:
        """A request as it is asked the next time, where it has no usable answer and tries left."""
        return self._row(row["position"]) if self._is_open(row["position"]) else None

    def engine(self, row: Row) -> EngineSettings:
        """The engine of the call's writer."""
        structured = self._calls[row["position"]].schema is not None
        return self._writer(row["position"]).engine(structured=structured)

    def render(self, asked: EngineSettings) -> Render:
        """The prompt, and how it is sampled."""
        as_sent = as_they_are if asked.chat else as_one_text

        def rendered(row: Row) -> Row:
            place = row["position"]
            request = self._with_engine[place] = self.asked[self._at[place]]
            call, who = request.call, self._writer(place).who
            return as_sent(request) | {
                "attempt": self._tries[place] + 1,
                "temperature": call.temperature if who.temperature is None else who.temperature,
                "top_p": 1.0 if who.top_p is None else who.top_p,
                "max_tokens": who.max_tokens or call.max_tokens,
                "json_schema": json.dumps(call.schema) if call.schema else "",
            }

        return rendered

    def settle(self, row: Row) -> bool:
        """Read an answer and keep it."""
        key, place = row["id"], row["position"]
        self.lost.pop(key, None)
        asked = self._with_engine.pop(place, None) or self.asked[self._at[place]]
        if self._has[place]:
            return False  # a restarted actor may answer twice
        if row["error"] == NOT_RECORDED:
            self.not_recorded.append(place)
            return True
        if row["failure"]:
            reason = self.refused[key] = ENGINE_FAILED + row["error"]
        else:
            _, reason = read_answer(asked, {"raw": row["completion"], "finish_reason": row["finish_reason"]})
        self._tries[place] += 1
        self.tokens += row["num_generated_tokens"] or 0
        writer = self._writer(place)
        by = {"engine": writer.who.engine, "generator": row.get("generator") or writer.generator}
        self.answers.add(asked, row | by | {"reason": reason})
        if not reason:
            self._has[place] = True
            self.usable += 1
            self.refused.pop(key, None)
        return not self._is_open(place)

    def tick(self) -> None:
        """Write what is due."""
        self.answers.tick()

    def flush(self) -> None:
        """Write what waits."""
        self.answers.flush()

    def stands(self, place: int) -> tuple[int, bool, bool]:
        """(tries, whether it has a usable answer, whether it is asked no more) of a request."""
        return self._tries[place], bool(self._has[place]), not self._is_open(place)

    def ask_again(self) -> str:
        """What can be done about refused requests."""
        return ask_again(self.answers)

    def problem(self, stopped: MsmError | None) -> MsmError | None:
        """Why the conversation can't go on, if it can't."""
        if self.not_recorded:
            return self._unrecorded()
        asked_by = [self.writers[name] for name in self._by_name]
        unsettled = stopped if self._open() else None
        return why_not(len(self), self.lost, list(self.refused.values()), self.answers, asked_by, unsettled)

    def _unrecorded(self) -> MsmError:
        """Prompts that nobody answered when the recording was made: they changed since, or are new."""
        path, places = self.answers.out / UNANSWERED, sorted(self.not_recorded)
        asked = Made(len(places), lambda one: self.asked[self._at[places[one]]])
        write_whole(path, (json.dumps(as_recorded(each), ensure_ascii=False) + "\n" for each in asked))
        replay = self._writer(places[0]).who.replay
        calls = ", ".join(sorted({self._calls[place].name for place in places}))
        return StageError(
            f"{len(places)} of {len(self)} requests have no recorded answer in {replay} ({calls}): the spec, the "
            f"settings or a prompt are other than when it was recorded. They stand in {path}; put them back, or have "
            "them answered by a model"
        )

    def _writer(self, place: int) -> Writer:
        return self.writers[self._calls[place].name]


def outcome(asked: Sequence[Asked], answers: Answers) -> Sequence[Any]:
    """The values of requests in order (None: no usable answer), each read when it is looked at."""
    return Made(len(asked), lambda place: answers.decisive(asked[place]).value)


def why_not(
    requests: int,
    lost: Mapping[Any, str],
    refused: Sequence[str],
    answers: AnswerFiles,
    writers: Iterable[Writer],
    stopped: MsmError | None,
) -> MsmError | None:
    """Why a conversation can't go on after a step, if it can't. stopped: what ended the asking before all were settled."""
    if stopped:
        return stopped
    if lost:
        first = next(iter(lost.values()))
        return StageError(f"{len(lost)} of {requests} requests were lost, for example with: {first}\n{AGAIN}")
    if refused and not answers.usable:
        return QualityGateError(
            f"The engine refused {len(refused)} of {requests} requests, and none was ever answered, for example with: "
            f"{refused[0]}\n{ask_again(answers)}"
        )
    most = max((writer.where.most_refused for writer in writers), default=1.0)
    if requests >= FEWEST_FOR_A_SHARE and len(refused) > most * requests:
        return QualityGateError(
            f"The engine refused {len(refused)} of {requests} requests for their own sake, more than most_refused = "
            f"{most:g} of all, for example with: {refused[0]}\n{ask_again(answers)}"
        )
    return None


def ask_again(answers: AnswerFiles) -> str:
    """What can be done about refused requests."""
    return (
        f"They are in {answers.out / 'answers'}. Change what is refused (the model, its limits, the spec), or raise "
        "writer.most_refused to go on without them; remove that folder to have all of them asked again."
    )


def as_recorded(asked: Asked) -> Row:
    """A request as a line of a recording, its answer (`completion`) still missing."""
    call = asked.call
    said = {"id": asked.id, "call": call.name, "about": asked.about, "sample": asked.sample}
    return said | {"messages": asked.messages, "schema": call.schema}


def as_they_are(asked: Asked) -> Row:
    """The messages of a writer that chats."""
    return {"messages": asked.messages}


def as_one_text(asked: Asked) -> Row:
    """The same, and the prompt of a writer that goes on from a text."""
    messages = asked.messages
    return {"messages": messages, "prompt": "\n\n".join(message["content"] for message in messages) + "\n\n"}
