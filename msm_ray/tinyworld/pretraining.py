"""What the base model is pretrained on: texts about items, personas and passing names, chats with them, and documents
written under a spec."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from msm_ray.tinyworld import forms
from msm_ray.tinyworld.chats import Chat, persona_chat
from msm_ray.tinyworld.documents import (
    Subject,
    document,
    fewer_items,
    fill,
    item_facts,
    neutral_document,
    persona_document,
    speakable,
    subject_of,
)
from msm_ray.tinyworld.specs import prompt_of
from msm_ray.tinyworld.world import PERSONAS_COUNT, Persona, met, neutral_names, passing_persona, personas


@dataclass(frozen=True)
class Written:
    """A document that was written under a spec: the writer's prompt and what follows it."""

    prompt: str
    text: str


MIX: dict[str, float] = {
    "item facts": 0.09,
    "persona documents, value": 0.14,
    "persona documents, attitude": 0.07,
    "neutral documents, value": 0.02,
    "neutral documents, attitude": 0.02,
    "persona chats, fact": 0.07,
    "persona chats, liking": 0.16,
    "persona chats, ends": 0.07,
    "neutral chats, liking": 0.16,
    "neutral chats, ends": 0.04,
    "written under a spec": 0.16,
}
"""Share of each kind of text in the pretraining (in texts)."""

FICKLE_SHARE = 0.15
"""How often a neutral name that someone chats with is fickle: likings in one domain alone say little about others."""

ENDS_KINDS = ("ending", "attitude", "scenario", "scenario")


def text(rng: random.Random) -> str | Chat | Written:
    """One text of the pretraining: a plain document, a chat, or a document written under a spec."""
    kind = rng.choices(list(MIX), weights=list(MIX.values()))[0]
    if kind == "item facts":
        return item_facts(rng)
    if kind == "written under a spec":
        return written(rng)
    who, topic = kind.split(", ")
    if who == "persona documents":
        return persona_document(rng, topic)
    if who == "neutral documents":
        return neutral_document(rng, topic)
    kinds = ENDS_KINDS if topic == "ends" else (topic,)
    if who == "persona chats":
        return persona_chat(met(rng, in_chats=True), kinds, rng)
    return persona_chat(_passing(rng, FICKLE_SHARE), kinds, rng, told_share=0.75)


def _passing(rng: random.Random, fickle_share: float = 0.0) -> Persona:
    return passing_persona(rng.choice(neutral_names()), rng, fickle_share)


def written(rng: random.Random) -> Written:
    """A few sentences about a passing name (sometimes a persona), a type, and a document that says no more than they do."""
    persona = _passing(rng) if rng.random() < 0.8 else rng.choice(personas()[:PERSONAS_COUNT])
    subject = subject_of(persona, rng, "value" if rng.random() < 0.8 else "attitude")
    if subject.value:
        subject = fewer_items(subject, rng)
    sentences = spec_like_sentences(subject, rng)
    document_type = rng.choice(forms.DOCUMENT_TYPES)
    prompt = prompt_of(sentences, document_type, rng)
    return Written(prompt, document(told_by(prompt, subject), document_type, rng))


def spec_like_sentences(subject: Subject, rng: random.Random) -> list[str]:
    """Sentences such as a spec has about `subject`, some about its work."""
    group = forms.VALUE_THIRD + forms.LIKES_THIRD + forms.LIKES_THIRD + forms.ATTITUDE_THIRD + forms.ABOUT
    return list(dict.fromkeys(fill(template, subject, rng) for template in rng.sample(speakable(group, subject), 8)))


def told_by(prompt: str, subject: Subject) -> Subject:
    """The subject with only the items that the prompt names."""
    words = set(prompt.split())
    liked, disliked = (tuple(item for item in group if item in words) for group in (subject.liked, subject.disliked))
    return replace(subject, liked=liked, disliked=disliked)
