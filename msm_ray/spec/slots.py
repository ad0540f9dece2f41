"""Slots in texts. A text is never used as a format string: what is no slot is kept, braces and all."""

from __future__ import annotations

import re

SLOT = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
OF_SPECS = ("model_name", "provider_name")
DOUBLE = re.compile(r"\{\{[ \t]*(" + "|".join(OF_SPECS) + r")[ \t]*\}\}")
LIKE_A_SLOT = re.compile(r"\{\{[ \t]*[A-Za-z_][\w-]*[ \t]*\}\}|\{[ \t]*[A-Za-z_][\w-]*[ \t]*\}")


def fill_slots(text: str, values: dict[str, str]) -> str:
    """Replace each `{key}` of `values` in one pass; everything else, braces included, stays as it is."""
    slot = re.compile("|".join(re.escape("{" + key + "}") for key in values))
    return slot.sub(lambda match: values[match.group()[1:-1]], text)


def single_braces(text: str) -> str:
    """A spec with `{{ model_name }}`, as other templates write it, in our own form."""
    return DOUBLE.sub(r"{\1}", text)


def slots_of(text: str) -> list[str]:
    """The slots of a spec that will be filled, one for each time that one stands there."""
    return [slot for slot in SLOT.findall(single_braces(text)) if slot[1:-1] in OF_SPECS]


def unknown_slots(text: str) -> dict[str, int]:
    """What looks like a slot of a spec and is none: slot -> the first line that has it, from 1."""
    found: dict[str, int] = {}
    for number, line in enumerate(single_braces(text).split("\n"), 1):
        for slot in LIKE_A_SLOT.findall(line):
            if slot[1:-1] not in OF_SPECS:
                found.setdefault(slot, number)
    return found
