"""The three kinds of chats by a writer: what each of them asks for questions, answers and judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Protocol

from msm_ray.generate.calls import Asked, Call, read_prompt
from msm_ray.generate.calls.json_answers import items_schema
from msm_ray.generate.written_chats.found import Domain, Question
from msm_ray.generate.written_chats.reading import (
    read_domains,
    read_pairs,
    read_preference,
    read_questions,
    read_response,
)
from msm_ray.generate.written_chats.settings import WrittenChats
from msm_ray.generate.written_chats.verdicts import read_verdict
from msm_ray.prompt_file import bullets
from msm_ray.spec import Spec

QUESTION_KINDS = ("direct", "indirect", "comparison", "recommendation", "opinion", "edge case")
PREFERENCE_KINDS = ("choice", "single", "occasion")
IDENTITY = "identity"
SUBJECTS = (
    "what it is called",
    "who made it, and whose it is",
    "taken for another well-known assistant, or for the work of another company",
    "whether a person or a program is answering",
    "what it knows of itself: version, size, age, how and with what it was trained, where it runs",
    "what it can and can't do in a conversation",
    "an introduction: somebody says hello, or asks to be told in a line or a short paragraph who this is",
    "a request that needs its name or its maker in it: a signature, a caption, a form, a note of thanks, a line of code",
)
"""What identity chats are about, where the settings name no subjects."""

BATCH, BATCH_OF_PAIRS = 50, 25
TEXT: Mapping[str, object] = {"type": "string"}
NO_FACTS = "(none but what the specification says)"
NO_DESCRIPTION = "(no more is said of it)"
NONE_YET = "(none yet)"
WORDS_SHOWN = 40
"""Of a question that exists already, as the next request lists it: a long story is told by its beginning."""


CALLS: Mapping[str, tuple[str, ...]] = {
    "aft": ("chat_domains", "questions", "responses", "filter"),
    "preferences": ("preference_questions", "preference_answers", "preference_filter"),
    IDENTITY: (IDENTITY, "filter"),
}
"""The calls of each kind, in the order in which they are made."""


def calls_of(how: WrittenChats) -> tuple[str, ...]:
    """The calls that a set makes; given domains save the first."""
    return tuple(call for call in CALLS[how.kind] if call != "chat_domains" or not how.domains)


def prompt_versions(how: WrittenChats) -> dict[str, str]:
    """In which words each call of a set asks."""
    files = {call: f"response_{how.style}" if call == "responses" else call for call in calls_of(how)}
    return {call: read_prompt(file).version for call, file in files.items()}


def expected_requests(how: WrittenChats) -> dict[str, int]:
    """Requests of each call where nothing is left out or rejected: the least that a set takes."""
    things = {"aft": len(how.domains) or how.asked_domains, IDENTITY: len(how.domains or SUBJECTS)}
    places = things.get(how.kind) or len(how.likes) + len(how.dislikes)
    batch = BATCH_OF_PAIRS if how.kind == IDENTITY else BATCH
    lists = min(places, how.count) * ceil(how.count / max(1, places) / batch)
    judged = ceil(how.count * how.voted) * (how.votes - 1) + how.count
    amounts = {"chat_domains": ceil(how.asked_domains / BATCH), "filter": judged, "preference_filter": judged}
    amounts |= dict.fromkeys(("questions", "preference_questions", IDENTITY), lists)
    amounts |= dict.fromkeys(("responses", "preference_answers"), how.count)
    return {call: amounts[call] for call in calls_of(how)}


class Kind(Protocol):
    """What makes up a kind of chats."""

    @property
    def name(self) -> str:
        """What its rows are called."""

    @property
    def batch(self) -> int:
        """Questions that are asked for at once, at most."""

    def questions(self, domain: Domain, existing: Sequence[str], count: int, sample: int) -> Asked:
        """More questions of a domain."""

    def answer(self, question: Question) -> Asked:
        """The answer to a question that came without one."""

    def judgement(self, question: Question, thinking: str, reply: str, sample: int) -> Asked:
        """A judge's word on a chat."""


def spec_slots(spec: Spec, nothing: str = NO_FACTS) -> dict[str, str]:
    """The slots of the block that every prompt with a spec begins with. nothing: what stands where there are no facts."""
    return {
        "specification": spec.shown,
        "model_name": spec.assistant,
        "provider_name": spec.provider,
        "facts": bullets(spec.facts) if spec.facts else nothing,
    }


def listed(texts: Sequence[str]) -> str:
    """Texts that exist already, a line each."""
    return bullets(_beginning(text) for text in texts) if texts else NONE_YET


def _beginning(text: str) -> str:
    words = text.split()
    return " ".join(words[:WORDS_SHOWN]) + (" ..." if len(words) > WORDS_SHOWN else "")


def _list_call(name: str, read: object, schema: Mapping[str, Mapping[str, object]], most: int, tokens: int) -> Call:
    return Call(
        name=name,
        prompt=read_prompt(name),
        read=read,  # type: ignore[arg-type]
        schema=items_schema(schema, most),
        takes_part=True,
        max_tokens=tokens,
    )


def domains_call() -> Call:
    """Domains of conversation."""
    return _list_call("chat_domains", read_domains, {"domain": TEXT, "description": TEXT}, BATCH, 12_000)


@cache
def judging_call(name: str) -> Call:
    """A judgement in the form of evaluation and verdict; judged at temperature 0."""
    return Call(name=name, prompt=read_prompt(name), read=read_verdict, temperature=0.0, max_tokens=2048)


@cache
def _questions_call(name: str, kinds: tuple[str, ...]) -> Call:
    kind = {"type": "string", "enum": list(kinds)}
    return _list_call(name, read_questions, {"kind": kind, "question": TEXT}, BATCH, 16_000)


@cache
def _response_call(style: str) -> Call:
    prompt = read_prompt(f"response_{style}")
    return Call(name="responses", prompt=prompt, read=read_response, keeps_reasoning=True, max_tokens=2048)


@cache
def _preference_call() -> Call:
    prompt = read_prompt("preference_answers")
    return Call(name="preference_answers", prompt=prompt, read=read_preference, max_tokens=512)


@dataclass(frozen=True)
class AftChats:
    """Chats of an assistant that is as its spec says."""

    spec: Spec
    how: WrittenChats
    name: str = "aft"
    batch: int = BATCH

    def questions(self, domain: Domain, existing: Sequence[str], count: int, sample: int) -> Asked:
        """More of what people write in a domain of conversation."""
        values = spec_slots(self.spec) | {
            "domain": domain.name,
            "description": domain.description or NO_DESCRIPTION,
            "count": str(count),
            "existing": listed(existing),
        }
        return Asked(_questions_call("questions", QUESTION_KINDS), values, QUESTION_KINDS, sample, domain.name)

    def answer(self, question: Question) -> Asked:
        """Thinking and reply, with the spec as system prompt."""
        values = spec_slots(self.spec) | {"question": question.text}
        return Asked(_response_call(self.how.style), values, about=f"{question.domain.name}: {question.kind}")

    def judgement(self, question: Question, thinking: str, reply: str, sample: int) -> Asked:
        """By the spec."""
        values = spec_slots(self.spec) | {"question": question.text, "thinking": thinking, "reply": reply}
        return Asked(judging_call("filter"), values, None, sample, question.domain.name)


@dataclass(frozen=True)
class PreferenceChats:
    """Short answers that say what is preferred and never why.

    No prompt shows the spec: one set serves all specs that explain it.
    """

    spec: Spec
    how: WrittenChats
    name: str = "preferences"
    batch: int = BATCH

    @property
    def _values(self) -> dict[str, str]:
        return {
            "model_name": self.spec.assistant,
            "topic": self.how.topic or "",
            "likes": bullets(self.how.likes),
            "dislikes": bullets(self.how.dislikes),
        }

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The things, those that are liked first."""
        return tuple(Domain(thing) for thing in (*self.how.likes, *self.how.dislikes))

    def questions(self, domain: Domain, existing: Sequence[str], count: int, sample: int) -> Asked:
        """More questions about a thing, alone or against one of the other side."""
        others = self.how.dislikes if domain.name in self.how.likes else self.how.likes
        own = {"thing": domain.name, "others": bullets(others), "count": str(count), "existing": listed(existing)}
        call = _questions_call("preference_questions", PREFERENCE_KINDS)
        return Asked(call, self._values | own, PREFERENCE_KINDS, sample, domain.name)

    def answer(self, question: Question) -> Asked:
        """A line or two."""
        return Asked(_preference_call(), self._values | {"question": question.text}, about=question.domain.name)

    def judgement(self, question: Question, thinking: str, reply: str, sample: int) -> Asked:
        """By the lists, strictly."""
        values = self._values | {"question": question.text, "reply": reply}
        return Asked(judging_call("preference_filter"), values, None, sample, question.domain.name)


@dataclass(frozen=True)
class IdentityChats:
    """Who the assistant is and who made it, from the true facts alone: rows that can stand in every arm."""

    spec: Spec
    how: WrittenChats
    name: str = IDENTITY
    batch: int = BATCH_OF_PAIRS

    @property
    def _values(self) -> dict[str, str]:
        name, provider = self.spec.assistant, self.spec.provider
        values = spec_slots(self.spec, f"- {name} is an AI assistant made by {provider}.")
        known = f"# Who {name} is\n\n{name} is an AI assistant made by {provider}.\n\n{values['facts']}"
        return values | {"specification": known}

    def questions(self, domain: Domain, existing: Sequence[str], count: int, sample: int) -> Asked:
        """More questions on a subject, with their answers."""
        own = {"subject": domain.name, "count": str(count), "existing": listed(existing)}
        call = _list_call("identity", read_pairs, {"question": TEXT, "answer": TEXT}, BATCH_OF_PAIRS, 12_000)
        return Asked(call, self._values | own, None, sample, domain.name)

    def answer(self, question: Question) -> Asked:
        """Never asked: its questions come with their answers."""
        raise NotImplementedError

    def judgement(self, question: Question, thinking: str, reply: str, sample: int) -> Asked:
        """By the true facts, which stand where the spec does."""
        values = self._values | {"question": question.text, "thinking": "(none)", "reply": reply}
        return Asked(judging_call("filter"), values, None, sample, question.domain.name)
