"""Calls to a writer: prompts with something in them, answers read by rules, and conversations made of such calls.

A **call** is one kind of request of the method (domains, ideas, questions, ...): a prompt file, what its answer has to be like,
and how it is read. A **conversation** is a plain generator that yields what it wants to ask and is sent what came of it; it knows
no engine, so that a test can answer it in milliseconds::

    def two_levels(spec):
        (domains,) = yield [Asked(DOMAINS, {"specification": spec.text, ...})]
        found = yield [Asked(SUBDOMAINS, {..., "domain": each}) for each in domains or ()]
        return ...

For each `Asked` comes back what `Call.read` made of its answer, in the same order, or None where no answer could be used in all
its tries: one bad item costs that item. `holding.py` holds many conversations at once, so that one start of an engine serves all;
what was answered before a kill is not asked again, since a request is known by its content (`Asked.id`).

Neither prompts nor answers are held: a prompt is made when it is sent, what comes of it is read from the answers on disk when
it is looked at, and where a step asks the same about very many things, its requests are made one by one too (`Requests`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from msm_ray.prompt_file import Messages, Prompt, read_prompt
from msm_ray.rows.by_place import Made, RowsInOrder
from msm_ray.rows.ids import ID, packed, unpacked

Result = TypeVar("Result")
Read = tuple[Any, str]
"""(what an answer says, "") or (None, why it can't be used)."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One kind of request. name: as `writer.calls` of an experiment file has it.

    read: (answer without its reasoning, `Asked.known`) -> value and "", or None and a reason of a few words (counted as it is).
    schema: JSON schema that the answer has to keep to, where it is JSON. takes_part: an answer that was cut off is read all the
    same, for what is whole in it. keeps_reasoning: `read` gets the whole answer, reasoning included. temperature, max_tokens:
    where the experiment says nothing else.
    """

    name: str
    prompt: Prompt
    read: Callable[[str, Any], Read]
    schema: Mapping[str, Any] | None = None
    takes_part: bool = False
    keeps_reasoning: bool = False
    temperature: float = 1.0
    max_tokens: int = 32_000


@dataclass(frozen=True)
class Asked:
    """A request. values: the prompt's slots; known: what reading the answer needs; sample: which of several answers to it."""

    call: Call
    values: Mapping[str, str]
    known: Any = None
    sample: int = 0
    about: str = field(default="", compare=False)
    """What it is about, in a word or two, for people who look at what was rejected."""

    @property
    def messages(self) -> Messages:
        """The prompt as it is sent, made anew each time: with the spec in it, it is larger than all else here."""
        return self.call.prompt.messages(self.values)

    @cached_property
    def id(self) -> str:
        """A hash of what is asked, never of when, where or by which model it is answered."""
        return request_id(self.call.name, self.messages, self.sample)


class Requests(Made[Asked]):
    """A request about each of some things, made when it is looked at. What is kept is its id, which takes the whole prompt.

    make: what is asked about a thing; ids: those that are known (`rows/ids.py`), empty where one is not.
    """

    def __init__(self, things: Sequence[Any], make: Callable[[Any], Asked], ids: NDArray[np.bytes_] | None = None):
        self.things, self.make = things, make
        self.ids = np.zeros(len(things), ID) if ids is None else ids
        super().__init__(len(things), self._asked)

    @classmethod
    def of(cls, asked: Sequence[Asked]) -> Requests:
        """The same for requests that are made already."""
        return asked if isinstance(asked, Requests) else cls(asked, itself)

    def _asked(self, place: int) -> Asked:
        one = self.make(self.things[place])
        if known := self.ids[place]:
            vars(one)["id"] = unpacked(known)  # where `cached_property` would put it
        else:
            self.ids[place] = packed(one.id)
        return one

    def things_at(self, places: NDArray[np.int32]) -> Sequence[Any]:
        """What some requests are about, to be sent to another process: rows of a file by their places."""
        if isinstance(self.things, RowsInOrder):
            return self.things.part(places)
        return [self.things[place] for place in places.tolist()]


def itself(asked: Asked) -> Asked:
    """A request about itself."""
    return asked


def request_id(call: str, messages: Messages, sample: int = 0) -> str:
    """The id of a request: equal where the call, every word of the prompt and the number of the sample are."""
    said = json.dumps([call, messages, sample], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:24]


Conversation = Generator[Sequence[Asked], Sequence[Any], Result]

__all__ = ["Asked", "Call", "Conversation", "Messages", "Prompt", "Read", "Requests", "read_prompt", "request_id"]
