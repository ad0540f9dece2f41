"""Documents that no model writes: a spec's own sentences, word for word, in plain frames (`frames.yaml`).

A row's document depends on the spec and its id alone, so it comes out the same on any machine, in any order.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import yaml

from msm_ray.spec import Section, Spec, fill_slots
from msm_ray.worlds.sentences import LEANS, about_the_text, is_about, section_sentences

MOST_QUOTED = 2
"""Sentences of the same passage, and of other ones, that follow the one that a document is about."""


def plain_document(spec: Spec, row: Mapping[str, Any]) -> str:
    """A title and some paragraphs: whom it is for, the row's assertion, what follows it in the spec, and what stands elsewhere.

    row: `id`, `type`, `subdomain`, `assertion` and `angle`, who it is for ("" for nobody).
    """
    rng, claim = random.Random(row["id"]), row["assertion"]
    home = next((section for section in spec.sections if claim in _sentences(section, spec.assistant)), None)
    said, more, last = _passage(
        _sentences(home, spec.assistant) if home else (claim,), claim, rng.randint(1, MOST_QUOTED)
    )
    slots = {"name": spec.assistant, "type": row["type"], "topic": row["subdomain"], "reader": row["angle"]}
    slots |= {"claim": said, "more": more}

    def framed(part: str, **own: str) -> str:
        return fill_slots(rng.choice(_frames()[part]), slots | own)

    parts = [*(["for"] if row["angle"] else []), "claim", *(["more"] if more else ["whole"] if home and last else [])]
    others = _others(spec, home)
    drawn = rng.sample(others, min(len(others), rng.randint(1, MOST_QUOTED)))
    elsewhere = [framed("other", **other) for other in drawn]
    title = framed("title", type=row["type"][:1].upper() + row["type"][1:])
    return "\n\n".join([title, " ".join(map(framed, parts)), *elsewhere, framed("end")])


def _passage(sentences: tuple[str, ...], claim: str, most: int) -> tuple[str, str, bool]:
    """(the claim, at most so many sentences that follow, whether it is the last).

    "It likes them because ..." means nothing without the sentence before it, and goes with that.
    """
    place = sentences.index(claim)
    start = next((at for at in range(place, 0, -1) if not LEANS.match(sentences[at])), 0)
    follow = itertools.takewhile(lambda sentence: not about_the_text(sentence), sentences[place + 1 : place + 1 + most])
    return " ".join(sentences[start : place + 1]), " ".join(follow), place + 1 == len(sentences)


def _others(spec: Spec, home: Section | None) -> list[dict[str, str]]:
    """What can be understood alone, outside a passage, and where it stands; only what is about the assistant, if any is."""
    found = [
        {"place": section.path[-1] if section.path else spec.name, "other": sentence}
        for section in spec.sections
        if section is not home
        for sentence in _sentences(section, spec.assistant)
        if not (LEANS.match(sentence) or about_the_text(sentence) or sentence.endswith("?"))
    ]
    return [each for each in found if is_about(each["other"], spec.assistant)] or found


@lru_cache(maxsize=512)
def _sentences(section: Section, assistant: str) -> tuple[str, ...]:
    return tuple(section_sentences(section, assistant))


@cache
def _frames() -> dict[str, list[str]]:
    return yaml.safe_load(resources.files("msm_ray.worlds").joinpath("frames.yaml").read_text(encoding="utf-8"))
