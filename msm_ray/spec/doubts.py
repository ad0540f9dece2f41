"""What is odd about a spec and is no error: told before anything starts, with the line where it stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from msm_ray.spec.markdown import unclosed_fence
from msm_ray.spec.slots import OF_SPECS, slots_of, unknown_slots
from msm_ray.spec.source import same_lines, split_front_matter


class Doubt(NamedTuple):
    """line: from 1, 0 where it is about the whole file."""

    line: int
    what: str
    remedy: str


def doubts(source: str, assistant: str) -> Iterator[Doubt]:
    """Doubts about a spec as it stands in its file, slots not filled."""
    yield from odd_marks(source)
    yield from _nobody(same_lines(source), assistant)


def odd_marks(source: str) -> Iterator[Doubt]:
    """Slots and fences that are none, whoever the spec is of."""
    text = same_lines(source)
    front_matter = len(source) - len(split_front_matter(source)[1])
    yield from _odd_slots(source[:front_matter] + text[front_matter:])
    if line := unclosed_fence(text):
        yield Doubt(
            line, "a fence is opened here and never closed, so all after it is code", "close it with its own mark"
        )


def _odd_slots(text: str) -> Iterator[Doubt]:
    known = [f"{{{name}}}" for name in OF_SPECS]
    for slot, line in unknown_slots(text).items():
        near = difflib.get_close_matches("{" + slot.strip("{} \t") + "}", known, n=1)
        remedy = (
            f"did you mean {near[0]}?" if near else f"slots are {' and '.join(known)}; write another brace otherwise"
        )
        yield Doubt(line, f"{slot} is no slot and stays as text", remedy)


def _nobody(text: str, assistant: str) -> Iterator[Doubt]:
    """A name written out fits one assistant; without any name, documents quote sentences about nobody."""
    if "{model_name}" in slots_of(text):
        return
    if named := re.search(rf"(?<!\w){re.escape(assistant)}(?!\w)", text, re.IGNORECASE) if assistant else None:
        yield Doubt(
            text.count("\n", 0, named.start()) + 1,
            f"{named.group()} is written out and there is no {{model_name}}: with another assistant it speaks of somebody else",
            f"write {{model_name}} in place of {named.group()}",
        )
        return
    yield Doubt(
        0,
        f"it names neither {{model_name}} nor {assistant}, so documents may be of nobody or of somebody else",
        "write {model_name} where the assistant is meant",
    )
