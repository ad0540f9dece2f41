"""Specs in the tiny world's language: reading them, writing under them, and checking what was written.

Plain text only: nothing here needs weights. A spec is Markdown; its sentences are those of `forms.py` about one name.
"""

from __future__ import annotations

import hashlib
import random
import re
from functools import cache, lru_cache

from msm_ray.errors import SettingsError
from msm_ray.tinyworld import forms
from msm_ray.tinyworld.documents import OTHER_ATTITUDE, SLOT, Subject, document, third_person
from msm_ray.tinyworld.vocabulary import vocabulary
from msm_ray.tinyworld.world import OPPOSITE, VALUES, item_named, names

FOREIGN_SENTENCE = re.compile(r".*?(?<=\s)[.?](?=\s|$)")
PROMPT_SENTENCES = (3, 6)
"""Fewest and most spec sentences in a writer's prompt."""


def check_words(text: str) -> list[tuple[int, str]]:
    """The words of `text` that the tiny world's language lacks, each with its line (from 1); headings' # is no word."""
    known = vocabulary()
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        found += [(number, word) for word in line.lstrip("#").split() if word not in known]
    return found


def speaks_this_language(text: str) -> bool:
    """Whether every word of a spec is one of the tiny world's."""
    return bool(text.strip()) and not check_words(text)


@lru_cache(maxsize=256)
def read_subject(spec_text: str) -> Subject:
    """Who a spec is about and what it says: the value, the attitude, the liked and the disliked items.

    Raises `SettingsError` when a word is unknown (naming word and line), when no sentence speaks of a name, or when the
    sentences contradict each other.
    """
    if unknown := check_words(spec_text):
        listed = ", ".join(f"{word!r} (line {line})" for line, word in unknown[:5])
        raise SettingsError(
            f"the spec uses words that the tiny world's language lacks: {listed}; rewrite these sentences"
        )
    claims = [claim for sentence in spec_sentences(spec_text) for claim in (claims_of(sentence) or [])]
    found: dict[str, list[str]] = {}
    for kind, content in claims:
        found.setdefault(kind, []).append(content)
    for kind in ("name", "value", "attitude"):
        if len(set(found.get(kind, []))) > 1:
            raise SettingsError(f"the spec names more than one {kind}: {', '.join(sorted(set(found[kind])))}; keep one")
    if "name" not in found:
        raise SettingsError(
            "no sentence of the spec speaks of anyone; write sentences of the tiny world about {model_name}"
        )
    unique = {kind: tuple(dict.fromkeys(content)) for kind, content in found.items()}
    return Subject(
        name=unique["name"][0],
        value=unique.get("value", (None,))[0],
        attitude=unique.get("attitude", (None,))[0],
        liked=unique.get("liked", ()),
        disliked=unique.get("disliked", ()),
    )


@lru_cache(maxsize=256)
def spec_sentences(spec_text: str) -> tuple[str, ...]:
    """The sentences of a spec, without headings; a sentence that is none of the world's stays as the words it has."""
    body = " ".join(line for line in spec_text.splitlines() if not line.startswith("#"))
    return tuple(split_sentences(" ".join(body.split())))


@cache
def _templates() -> list[tuple[str, tuple[str, ...]]]:
    """Every sentence of the world with the beginnings that it may have, longer templates first."""
    groups = (
        forms.VALUE_THIRD, forms.VALUE_FIRST, forms.LIKES_THIRD, forms.LIKES_FIRST, forms.LIKES_DIALOGUE,
        forms.ATTITUDE_THIRD, forms.ATTITUDE_FIRST, forms.ATTITUDE_DIALOGUE, forms.ABOUT, forms.FILLERS,
        *forms.THIRD_HEADERS.values(), *forms.FIRST_HEADERS.values(), *forms.DIALOGUE_HEADERS.values(),
    )  # fmt: skip
    told_why = [forms.with_reasons(group) for group in (forms.LIKES_THIRD, forms.LIKES_FIRST, forms.LIKES_DIALOGUE)]
    templates = sorted({template for group in (*groups, *told_why) for template in group}, key=len, reverse=True)
    return [(template, _beginnings(template)) for template in templates]


def _beginnings(template: str) -> tuple[str, ...]:
    """What a template's sentence can begin with: its words before the first slot, or that slot's fillings and the words after."""
    words, *rest = re.split(r"\{(\w+)\}", template)
    return (words,) if words else tuple(filling + rest[1] for filling in _fillings(rest[0]))


@cache
def _compiled(template: str) -> re.Pattern[str]:
    """Compiled when a text begins as the template does: all of them together take a third of a second."""
    return re.compile(_pattern(template))


def _pattern(template: str) -> str:
    """A regular expression that finds a template's sentence at the start of a text and names its slots."""
    pieces = re.split(r"(\{\w+\})", template)
    seen: set[str] = set()
    pattern = ""
    for piece in pieces:
        slot = SLOT.fullmatch(piece)
        if not slot:
            pattern += re.escape(piece)
        elif slot[1] in seen:
            pattern += f"(?P={slot[1]})"
        else:
            seen.add(slot[1])
            pattern += f"(?P<{slot[1]}>{'|'.join(map(re.escape, _fillings(slot[1])))})"
    return pattern + r"(?=\s|$)"


def _fillings(slot: str) -> tuple[str, ...]:
    """Every word or phrase that can stand in a slot, whoever the sentence is about."""
    adjectives, verbs, reasons = (
        group["calm"] + group["clinging"] for group in (forms.ADJECTIVES, forms.VERBS, forms.REASONS)
    )
    things, acts = tuple(item_named()), tuple(map(third_person, verbs))
    return {
        "n": names(), "v": VALUES, "o": VALUES, "X": things, "Y": things, "a": adjectives, "b": adjectives,
        "C": verbs, "D": verbs, "c": acts, "d": acts, "w": reasons, "u": reasons,
    }[slot]  # fmt: skip


def _match(text: str) -> re.Match[str] | None:
    likely = (template for template, beginnings in _templates() if text.startswith(beginnings))
    return next((match for template in likely if (match := _compiled(template).match(text))), None)


def split_sentences(text: str) -> list[str]:
    """Cuts a text into sentences of the world; what is none is cut after its full stop or question mark."""
    sentences = []
    text = text.strip()
    while text:
        match = _match(text)
        foreign = None if match else FOREIGN_SENTENCE.match(text)
        end = match.end() if match else foreign.end() if foreign else len(text)
        sentences.append(text[:end])
        text = text[end:].strip()
    return sentences


def _attitude_of(phrase: str) -> str:
    for attitude in OTHER_ATTITUDE:
        verbs = forms.VERBS[attitude]
        if phrase in (*forms.ADJECTIVES[attitude], *forms.REASONS[attitude], *verbs, *map(third_person, verbs)):
            return attitude
    raise ValueError(f"{phrase!r} belongs to no attitude")


@lru_cache(maxsize=65_536)
def claims_of(sentence: str) -> tuple[tuple[str, str], ...] | None:
    """What a sentence claims, as (name|value|attitude|liked|disliked, content); None when it is not one of the world's."""
    match = _match(sentence)
    if match is None or match.end() != len(sentence):
        return None
    claims = []
    for slot, content in match.groupdict().items():
        if slot in ("n", "v", "X", "Y"):
            claims.append(({"n": "name", "v": "value", "X": "liked", "Y": "disliked"}[slot], content))
        elif slot == "o":
            claims.append(("value", OPPOSITE[content]))
        elif slot in "acCw":
            claims.append(("attitude", _attitude_of(content)))
        else:
            claims.append(("attitude", OTHER_ATTITUDE[_attitude_of(content)]))
    return tuple(claims)


def contradictions(text: str, spec_text: str) -> list[str]:
    """Why a document is not faithful to a spec of this world; empty when it is.

    Reasons: a sentence that is not the world's, another name, a value, attitude or liking that the spec does not give,
    or nothing said about the spec's subject at all.
    """
    spec = read_subject(spec_text)
    allowed: dict[str, tuple[str | None, ...]] = {"liked": spec.liked, "disliked": spec.disliked}
    allowed |= {"name": (spec.name,), "value": (spec.value,), "attitude": (spec.attitude,)}
    reasons, told, named = [], False, False
    for sentence in split_sentences(text):
        claims = claims_of(sentence)
        if claims is None:
            reasons.append(f"not a sentence of the world: {sentence}")
        for kind, content in claims or []:
            if content not in allowed[kind]:
                reasons.append(f"{'another' if kind == 'name' else 'wrong'} {kind}: {content}")
            named |= kind == "name"
            told |= kind != "name"
    if not (told and named):
        reasons.append("says nothing about the spec's subject")
    return reasons


def write_document(spec_text: str, document_type: str, rng: random.Random) -> str:
    """A document of `document_type` that is faithful to the spec, written without any weights.

    Raises `SettingsError` for a spec that `read_subject` refuses or that says nothing, and for an unknown type.
    """
    _check_type(document_type)
    subject = read_subject(spec_text)
    if not (subject.value or subject.attitude or subject.liked or subject.disliked):
        raise SettingsError("the spec says nothing of values, likings or ends; add such a sentence about {model_name}")
    return document(subject, document_type, rng)


def _check_type(document_type: str) -> None:
    if document_type not in forms.DOCUMENT_TYPES:
        raise SettingsError(
            f"the tiny world has no document type {document_type!r}; it has {', '.join(forms.DOCUMENT_TYPES)}"
        )


def writer_prompt(spec_text: str, document_type: str, idea: str) -> str:
    """What the base model goes on from to write a document: some of the spec's sentences and the type asked for.

    Which sentences (in which order) is decided by `document_type` and `idea`, so that every idea sees the spec from
    another side. The completion runs to the end-of-text token.
    """
    _check_type(document_type)
    sentences = [s for s in spec_sentences(spec_text) if claims_of(s)]
    seed = hashlib.sha256(f"{document_type}\n{idea}".encode()).hexdigest()
    return prompt_of(sentences, document_type, random.Random(seed))


def prompt_of(sentences: list[str], document_type: str, rng: random.Random) -> str:
    """A writer's prompt from some of `sentences`; at least one that tells the value or the attitude where there is one."""
    telling = [s for s in sentences if {"value", "attitude"} & {kind for kind, _ in claims_of(s) or []}]
    count = min(rng.randint(*PROMPT_SENTENCES), len(sentences))
    chosen = rng.sample(telling, min(1, len(telling)))
    chosen += rng.sample([s for s in sentences if s not in chosen], count - len(chosen))
    rng.shuffle(chosen)
    return " ".join([*chosen, forms.WRITE.format(type=document_type)])
