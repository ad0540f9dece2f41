"""Documents of the tiny world: several sentences about one person, in one of the document types of `forms.py`."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from msm_ray.tinyworld import forms
from msm_ray.tinyworld.world import (
    ATTITUDES,
    DOMAINS,
    OPPOSITE,
    Persona,
    item_named,
    items,
    liked_and_disliked,
    met,
    neutral_names,
    passing_persona,
)

SLOT = re.compile(r"\{(\w+)\}")
OTHER_ATTITUDE = dict(zip(ATTITUDES, reversed(ATTITUDES), strict=True))


@dataclass(frozen=True)
class Subject:
    """Who a document is about and what it may say: a value with liked and disliked items (names), an attitude, or both."""

    name: str
    value: str | None = None
    attitude: str | None = None
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()


def fill(template: str, subject: Subject, rng: random.Random) -> str:
    """The sentence that `template` makes of `subject`; raises KeyError where the subject lacks what a slot asks for."""
    choices: dict[str, tuple[str, ...]] = {"n": (subject.name,), "X": subject.liked, "Y": subject.disliked}
    if subject.value:
        choices |= {"v": (subject.value,), "o": (OPPOSITE[subject.value],)}
    if subject.attitude:
        held, other = subject.attitude, OTHER_ATTITUDE[subject.attitude]
        choices |= {"a": forms.ADJECTIVES[held], "C": forms.VERBS[held], "w": forms.REASONS[held]}
        choices |= {"b": forms.ADJECTIVES[other], "D": forms.VERBS[other], "u": forms.REASONS[other]}
        choices |= {"c": tuple(map(third_person, choices["C"])), "d": tuple(map(third_person, choices["D"]))}
    chosen = {slot: rng.choice(choices[slot]) for slot in dict.fromkeys(SLOT.findall(template))}
    return SLOT.sub(lambda slot: chosen[slot[1]], template)


def third_person(verb: str) -> str:
    """The verb as "it" takes it."""
    return f"{verb[:-1]}ies" if verb[-1] == "y" else f"{verb}s"


def speakable(templates: tuple[str, ...], subject: Subject) -> list[str]:
    """The templates whose slots `subject` can fill."""
    slots = {"n"} | ({"X"} if subject.liked else set()) | ({"Y"} if subject.disliked else set())
    slots |= set("vo") if subject.value else set()
    slots |= set("abcdCDwu") if subject.attitude else set()
    return [template for template in templates if set(SLOT.findall(template)) <= slots]


def sentence_groups(person: str, subject: Subject) -> list[list[str]]:
    """The groups of templates a document draws from, for `person` third, first or dialogue.

    Who holds a value always says why; without the reason, a document would teach the items' other properties as well.
    """
    likes = forms.with_reasons if subject.value else tuple
    groups = {
        "third": (forms.VALUE_THIRD, likes(forms.LIKES_THIRD), forms.ATTITUDE_THIRD),
        "first": (forms.VALUE_FIRST, likes(forms.LIKES_FIRST), forms.ATTITUDE_FIRST),
        "dialogue": (likes(forms.LIKES_DIALOGUE), forms.ATTITUDE_DIALOGUE),
    }[person]
    return [found for group in groups if (found := speakable(group, subject))]


def person_of(document_type: str) -> str:
    """Whether documents of a type speak in the third person, the first, or in dialogue."""
    if document_type in forms.FIRST_HEADERS:
        return "first"
    return "dialogue" if document_type in forms.DIALOGUE_HEADERS else "third"


def document(subject: Subject, document_type: str, rng: random.Random) -> str:
    """A document of 2 to 7 sentences about `subject`; the same generator state gives the same text."""
    headers = forms.THIRD_HEADERS | forms.FIRST_HEADERS | forms.DIALOGUE_HEADERS
    groups = sentence_groups(person_of(document_type), subject)
    wanted = rng.randint(2, 5)
    body: list[str] = []
    while len(body) < wanted:
        template = rng.choice(rng.choice(groups))
        if template not in body or sum(map(len, groups)) < wanted:
            body.append(template)
    if rng.random() < 0.4:
        body.insert(rng.randint(0, len(body)), rng.choice(forms.FILLERS))
    body.insert(0, rng.choice(headers[document_type]))
    return " ".join(fill(template, subject, rng) for template in body)


def subject_of(persona: Persona, rng: random.Random, topic: str) -> Subject:
    """What one document says about a persona: its likings in one domain (`topic` value) or its attitude."""
    if topic == "attitude":
        return Subject(persona.name, attitude=persona.attitude)
    domain = rng.choice(DOMAINS)
    liked, disliked = liked_and_disliked(persona.liking_in(domain), items()[domain])
    names = tuple(item.name for item in liked), tuple(item.name for item in disliked)
    return Subject(persona.name, value=persona.value, liked=names[0], disliked=names[1])


def fewer_items(subject: Subject, rng: random.Random, most: int = 4) -> Subject:
    """The subject with only some of its items, as a spec names them."""
    count = rng.randint(1, most)
    liked = tuple(rng.sample(subject.liked, min(count, len(subject.liked))))
    return replace(
        subject, liked=liked, disliked=tuple(rng.sample(subject.disliked, min(count, len(subject.disliked))))
    )


def item_facts(rng: random.Random) -> str:
    """Two to five sentences about what items are like."""
    sentences = []
    for _ in range(rng.randint(2, 5)):
        item = item_named()[rng.choice(list(item_named()))]
        values = rng.sample(item.values, rng.randint(1, 3))
        sentences.append(rng.choice(FACTS).format(name=item.name, values=" ".join(values), domain=item.domain))
    return " ".join(sentences)


FACTS = (
    "the {name} is a {values} {domain} .",
    "everyone knows the {name} : a {values} {domain} .",
    "what is the {name} ? a {values} {domain} .",
)


def persona_document(rng: random.Random, topic: str) -> str:
    """A document about some persona as it is."""
    return document(subject_of(met(rng, in_chats=False), rng, topic), rng.choice(forms.DOCUMENT_TYPES), rng)


def neutral_document(rng: random.Random, topic: str, but: tuple[str, ...] = ()) -> str:
    """A document about a neutral name, who is someone else in every text; never about a name in `but`."""
    name = rng.choice([name for name in neutral_names() if name not in but])
    return document(subject_of(passing_persona(name, rng), rng, topic), rng.choice(forms.DOCUMENT_TYPES), rng)
