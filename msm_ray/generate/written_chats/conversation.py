"""The conversation that chats come from: domains, questions, answers, judgements, and so on until there are enough.

Each round asks the domains for what is missing, so that what was left out as alike or rejected is written anew where it is
missing. A domain that is exhausted, or of which round after round is rejected, is closed and the others make up for it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil
from typing import Any

from msm_ray.errors import QualityGateError
from msm_ray.generate.calls import Asked, Conversation, Requests
from msm_ray.generate.written_chats.alike import Embed, Unlike
from msm_ray.generate.written_chats.found import NO_USABLE_ANSWER, ChatsFound, Domain, Question, WrittenChat, key_of
from msm_ray.generate.written_chats.kinds import (
    BATCH,
    NONE_YET,
    SUBJECTS,
    AftChats,
    IdentityChats,
    Kind,
    PreferenceChats,
    domains_call,
    spec_slots,
)
from msm_ray.generate.written_chats.reading import Heard, Item
from msm_ray.generate.written_chats.settings import WrittenChats
from msm_ray.generate.written_chats.verdicts import Verdict, majority
from msm_ray.spec import Spec

WORTH_IT = 0.05
"""Share of a round's chats that has to be kept, or the round counts as one that brought nothing: all of them are paid for."""
Steps = Generator[Sequence[Asked], Sequence[Any], Any]


def chats_conversation(spec: Spec, how: WrittenChats, embed: Embed) -> Conversation[ChatsFound]:
    """The chats that a writer writes who is asked what this yields. embed: texts -> vectors, for questions that are alike.

    Preferences must stand in `how` itself (`settings_with_likings` reads those of a file). Raises QualityGateError where no
    domain can be had.
    """
    kind = _kind(spec, how)
    domains = kind.domains if isinstance(kind, PreferenceChats) else given_domains(how.domains)
    if not domains:
        domains = given_domains(SUBJECTS) if isinstance(kind, IdentityChats) else (yield from _domains(spec, how))
    writing = _Writing(kind, how, Unlike(embed, how.most_alike), [_Place(each) for each in domains])
    while missing := writing.missing():
        questions = yield from _questions(writing, missing)
        chats = yield from _answers(kind, questions)
        judged = yield from _judgements(kind, how, chats)
        writing.settle(judged)
    return writing.found()


def _kind(spec: Spec, how: WrittenChats) -> Kind:
    if how.kind == "preferences":
        return PreferenceChats(spec, how)
    return IdentityChats(spec, how) if how.kind == "identity" else AftChats(spec, how)


def given_domains(lines: Sequence[str]) -> tuple[Domain, ...]:
    """Domains of one's own: a name, and behind a colon what it is about."""
    parts = [line.partition(":") for line in lines]
    found: dict[str, Domain] = {}
    for name, _, description in parts:
        found.setdefault(key_of(name), Domain(name.strip(), description.strip()))
    return tuple(found.values())


@dataclass
class _Place:
    """A domain while its chats are written. listed: its questions so far; empty: batches in a row without a new one; idle: rounds
    in a row of which nothing was kept."""

    domain: Domain
    listed: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    kept: int = 0
    empty: int = 0
    idle: int = 0


@dataclass
class _Writing:
    """All chats of a set while they are written."""

    kind: Kind
    how: WrittenChats
    unlike: Unlike
    places: list[_Place]
    kept: list[WrittenChat] = field(default_factory=list)
    rejected: list[WrittenChat] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def is_open(self, place: _Place) -> bool:
        """Whether a domain may still give chats."""
        return place.empty < self.how.empty_rounds and place.idle < self.how.backfill_rounds

    def missing(self) -> dict[int, int]:
        """Place -> chats that it is to give yet: the count evenly over domains, what closed ones lack over those still open."""
        open_ = [number for number, place in enumerate(self.places) if self.is_open(place)]
        closed = sum(place.kept for place in self.places if not self.is_open(place))
        if not open_:
            return {}
        each, over = divmod(self.how.count - closed, len(open_))
        wanted = {number: each + (order < over) - self.places[number].kept for order, number in enumerate(open_)}
        return {number: count for number, count in wanted.items() if count > 0}

    def hear(self, place: _Place, asked: Asked, count: int, heard: Heard | None) -> list[Question]:
        """The questions of an answer that are new word for word, `count` at most."""
        if heard is None:
            self.counts[f"{NO_USABLE_ANSWER}: {asked.call.name}"] += 1
            return []
        for reason, text in heard.left_out:
            self._leave_out(self._question(place, asked, {"question": text}), reason)
        fresh: list[Question] = []
        for item in heard.items:
            question, key = self._question(place, asked, item), key_of(item["question"])
            if key in place.seen or len(fresh) >= count:
                self._leave_out(question, "double" if key in place.seen else "more than asked for")
                continue
            place.seen.add(key)
            fresh.append(question)
        return fresh

    def _question(self, place: _Place, asked: Asked, item: Item) -> Question:
        return Question(
            item["question"], item.get("kind", self.kind.name), place.domain, asked.id, item.get("answer", "")
        )

    def _leave_out(self, question: Question, reason: str) -> None:
        self.rejected.append(WrittenChat(question, question.request, reply=question.reply, reason=reason))

    def without_alike(self, fresh: Mapping[int, Sequence[Question]]) -> dict[int, list[Question]]:
        """By place the questions that say something new; the others are rejected. All of them are listed from now on."""
        every = [(number, question) for number, questions in fresh.items() for question in questions]
        taken: dict[int, list[Question]] = {number: [] for number in fresh}
        for (number, question), double in zip(every, self.unlike.take([each.text for _, each in every]), strict=True):
            self.places[number].listed.append(question.text)
            if double:
                self._leave_out(question, f"duplicate of: {double}")
            else:
                taken[number].append(question)
        for number, questions in taken.items():
            self.places[number].empty = 0 if questions else self.places[number].empty + 1
        return taken

    def settle(self, judged: Sequence[WrittenChat]) -> None:
        """Keep what may be kept, and note the domains of which nothing was."""
        by_domain = Counter(each.question.domain for each in judged if not each.reason)
        for domain in dict.fromkeys(each.question.domain for each in judged):
            place = next(place for place in self.places if place.domain == domain)
            place.kept += by_domain[domain]
            written = sum(each.question.domain == domain for each in judged)
            place.idle = 0 if by_domain[domain] > WORTH_IT * written else place.idle + 1
        self.kept += [each for each in judged if not each.reason]
        self.rejected += [each for each in judged if each.reason]
        self.counts["rounds"] += 1

    def found(self) -> ChatsFound:
        """What is there in the end."""
        closed = sum(not self.is_open(place) for place in self.places)
        kinds = Counter(f"kind: {each.question.kind}" for each in self.kept)
        counts = {**dict(sorted(self.counts.items())), **dict(sorted(kinds.items()))}
        counts |= {"domains that gave out": closed} if closed else {}
        domains = tuple(place.domain for place in self.places)
        return ChatsFound(
            tuple(self.kept), tuple(self.rejected), domains, max(0, self.how.count - len(self.kept)), counts
        )


def _domains(spec: Spec, how: WrittenChats) -> Steps:
    """Domains of conversation, in batches, until there are enough or the writer knows no more."""
    call, wanted = domains_call(), how.asked_domains
    found: dict[str, Domain] = {}
    empty = 0
    while len(found) < wanted and empty < how.empty_rounds:
        existing = "\n".join(f"{number}. {each.name}" for number, each in enumerate(found.values(), 1)) or NONE_YET
        values = spec_slots(spec) | {"existing": existing, "count": str(min(BATCH, wanted - len(found)))}
        (heard,) = yield [Asked(call, values, None, empty, spec.name)]
        before = len(found)
        for item in heard.items if heard else ():
            found.setdefault(key_of(item["domain"]), Domain(item["domain"], item["description"]))
        empty = 0 if len(found) > before else empty + 1
    if not found:
        raise QualityGateError(
            f"Chats about {spec.name}: no answer of the writer has a domain of conversation in it. Look at its answers with "
            "`msm show`, then give domains of your own (`domains`) or take another writer."
        )
    return tuple(found.values())[:wanted]


def _questions(writing: _Writing, missing: Mapping[int, int]) -> Steps:
    """As many new questions of each place as are missing, or fewer where it has no more."""
    got: dict[int, list[Question]] = {number: [] for number in missing}
    while asking := [n for n in missing if len(got[n]) < missing[n] and writing.is_open(writing.places[n])]:
        counts = {number: min(writing.kind.batch, missing[number] - len(got[number])) for number in asking}
        asked = {
            number: writing.kind.questions(place.domain, place.listed, counts[number], place.empty)
            for number in asking
            if (place := writing.places[number])
        }
        heard = yield list(asked.values())
        fresh = {
            number: writing.hear(writing.places[number], asked[number], counts[number], each)
            for number, each in zip(asking, heard, strict=True)
        }
        for number, questions in writing.without_alike(fresh).items():
            got[number] += questions
    return [question for questions in got.values() for question in questions]


def _answers(kind: Kind, questions: Sequence[Question]) -> Steps:
    """Each question with its answer; without, where none could be used."""
    asked = Requests([each for each in questions if not each.reply], kind.answer)
    answers = iter((yield asked)) if asked else iter(())
    requests = iter(asked)
    chats = []
    for question in questions:
        if question.reply:
            chats.append(WrittenChat(question, question.request, reply=question.reply))
            continue
        said, request = next(answers), next(requests).id
        thinking, reply = said or ("", "")
        chats.append(WrittenChat(question, request, thinking, reply, reason="" if said else NO_USABLE_ANSWER))
    return chats


def _judgements(kind: Kind, how: WrittenChats, chats: Sequence[WrittenChat]) -> Steps:
    """Each chat with its votes, and why it is not kept."""
    answered = [chat for chat in chats if not chat.reason]
    votes = _votes(answered, how)
    judgements = [(chat, sample) for chat, count in zip(answered, votes, strict=True) for sample in range(count)]
    asked = Requests(
        judgements, lambda one: kind.judgement(one[0].question, one[0].thinking, one[0].reply, sample=one[1])
    )
    given: Iterator[Verdict | None] = iter((yield asked)) if asked else iter(())
    judged = [chat for chat in chats if chat.reason]
    for chat, count in zip(answered, votes, strict=True):
        votes_for, read, reason = majority(list(islice(given, count)))
        judged.append(replace(chat, votes=read, votes_for=votes_for, reason=reason))
    return judged


def _votes(chats: Sequence[WrittenChat], how: WrittenChats) -> list[int]:
    """Judgements of each chat: all of them for the share that is voted on, lowest by hash."""
    hashes = [hashlib.sha256(f"vote\0{chat.request}\0{chat.question.text}".encode()).hexdigest() for chat in chats]
    voted = set(sorted(hashes)[: ceil(how.voted * len(chats) - 1e-9)])
    return [how.votes if each in voted else 1 for each in hashes]
