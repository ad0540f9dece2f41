"""The five calls of an outline: what each is asked with, and what of an answer is kept and why the rest is not.

An answer is a list of items. An item that lacks a field, rambles, has a label that is none or a section that the spec does not
say is left out with its reason; the others stay. An answer with nothing to keep is one that can't be used, and is asked for
anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from msm_ray.generate.calls import Call, Read, read_prompt
from msm_ray.generate.calls.json_answers import items_schema, read_objects, texts_of
from msm_ray.generate.outline.parts import LABELS
from msm_ray.generate.outline.passages import find_section

Item = dict[str, str]
Checked = tuple[Item | None, str]
"""(an item, what was mended in it) or (None, why it is left out)."""
TEXT: Mapping[str, Any] = {"type": "string"}

ENDED = re.compile(r"\}[\s,]*\][^{]*\Z")
"""The end of a list that JSON itself doesn't take for one."""
MOST_DOMAINS = 16
MOST_SUBDOMAINS = 16
MOST_ASSERTIONS = 40
"""Bounds on lists that have no target; the paper has 5 to 8 domains and about 27 subdomains in all. What is beyond is cut."""


@dataclass(frozen=True)
class Heard:
    """What an answer gives. items: in its order; left_out: (reason, the item as JSON); mended: of what kind, an entry an item.

    whole: the answer's list was ended; one that broke off may have had more.
    """

    items: tuple[Item, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    mended: tuple[str, ...] = ()
    whole: bool = True


def prompt_versions(family: str) -> dict[str, str]:
    """The wording of each call's prompt, as it is part of what an outline is."""
    calls = (domains_call(), subdomains_call(), assertions_call(family), types_call(1), ideas_call(family, 1))
    return {call.name: call.prompt.version for call in calls}


def domains_call() -> Call:
    """Call 1: no words over eight, where four are asked for. A list that broke off is none: its prompt shows no list of what
    exists, so that the rest can't be asked for."""
    read = partial(_read_whole, {"domain": 8}, _as_it_is)
    schema = items_schema({"domain": TEXT}, MOST_DOMAINS)
    return Call(name="domains", prompt=read_prompt("domains"), read=read, schema=schema)


def subdomains_call() -> Call:
    """Call 2. `Asked.known` is the text of the spec, whose own words take the place of a section that was copied."""
    fields = {"name": 16, "context": None, "section": None}
    schema = items_schema(dict.fromkeys(fields, TEXT), MOST_SUBDOMAINS)
    read = partial(_read, fields, _in_the_spec)
    prompt = read_prompt("subdomains")
    return Call(name="subdomains", prompt=prompt, read=read, schema=schema, takes_part=True)


def assertions_call(family: str) -> Call:
    """Call 3, in the words of the family."""
    fields = {"assertion": 80, "name": 16, "explanation": 400, "label": None}
    schema = items_schema(
        dict.fromkeys(fields, TEXT) | {"label": {"type": "string", "enum": list(LABELS)}}, MOST_ASSERTIONS
    )
    prompt = read_prompt("assertions_rules" if family == "rules" else "assertions")
    read = partial(_read, fields, _labelled)
    return Call(name="assertions", prompt=prompt, read=read, schema=schema, takes_part=True)


def types_call(most: int) -> Call:
    """Call 4. most: of document types in one answer."""
    fields = {"name": 16, "description": 200}
    schema = items_schema(dict.fromkeys(fields, TEXT), most)
    read = partial(_read, fields, _as_it_is)
    return Call(name="types", prompt=read_prompt("types"), read=read, schema=schema, takes_part=True)


@cache
def ideas_call(family: str, most: int) -> Call:
    """Call 5, in the words of the family. most: of ideas in one answer. In the family `rules`, `Asked.known` are the names of
    rules."""
    fields: dict[str, int | None] = {"name": 20, "idea": 300}
    if family == "rules":
        fields["rule"] = None
    schema = items_schema(dict.fromkeys(fields, TEXT), most)
    prompt = read_prompt("ideas_rules" if family == "rules" else "ideas")
    read = partial(_read, fields, _on_a_rule if family == "rules" else _as_it_is)
    return Call(name="ideas", prompt=prompt, read=read, schema=schema, takes_part=True)


def key_of(text: str) -> str:
    """What two texts have in common that say the same: their words, without case, marks and a leading article."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)


def _read(fields: Mapping[str, int | None], check: Callable[[Item, Any], Checked], text: str, known: Any) -> Read:
    """Read an answer. fields: what every item has, and the most words that are not rambling."""
    objects = read_objects(text)
    if not objects:
        return (Heard(()), "") if _list_in(text) == [] else (None, "no items")
    items, left_out, mended = [], [], []
    for each in objects:
        item, why = _checked(each, fields, check, known)
        if item is None:
            left_out.append((why, json.dumps(each, ensure_ascii=False)))
            continue
        items.append(item)
        mended += [why] if why else []
    if not items:
        return None, f"no usable item: {left_out[0][0]}"
    return Heard(tuple(items), tuple(left_out), tuple(mended), _is_ended(text)), ""


def _read_whole(fields: Mapping[str, int | None], check: Callable[[Item, Any], Checked], text: str, known: Any) -> Read:
    heard, reason = _read(fields, check, text, known)
    return (None, "broken off") if heard and not heard.whole else (heard, reason)


def _is_ended(text: str) -> bool:
    """Whether a list came to its end, a comma before that or not; items that stand in no list end with the last of them."""
    in_no_list = "[" not in text and text.rstrip("`\n ").endswith("}")
    return _list_in(text) is not None or bool(ENDED.search(text)) or in_no_list


def _checked(
    each: Mapping[str, Any], fields: Mapping[str, int | None], check: Callable[[Item, Any], Checked], known: Any
) -> Checked:
    item = texts_of(each, list(fields))
    if item is None:
        return None, "field missing"
    for name, most in fields.items():
        if not key_of(item[name]):
            return None, f"{name} without a word"  # the dots of the form that the prompt shows, copied
        if most and len(item[name].split()) > most:
            return None, f"{name} too long"
    return check(item, known)


def _list_in(text: str) -> list[Any] | None:
    """The list that an answer is, or that an object in it wraps; None where it was not ended."""
    decoder = json.JSONDecoder(strict=False)
    for mark in re.finditer(r"[\[{]", text):
        try:
            value, _ = decoder.raw_decode(text, mark.start())
        except (json.JSONDecodeError, RecursionError):
            continue  # what wraps the items was cut off, or this is prose
        return _list_of(value)
    return None


def _list_of(value: Any) -> list[Any] | None:
    """A list, or the first that an object wraps, however often."""
    if isinstance(value, list):
        return value
    inner = value.values() if isinstance(value, dict) else ()
    return next((found for each in inner if (found := _list_of(each)) is not None), None)


def _as_it_is(item: Item, known: Any) -> Checked:
    return item, ""


def _in_the_spec(item: Item, known: str) -> Checked:
    found = find_section(known, item["section"])
    if found is None:
        return None, "section not in the spec"
    return item | {"section": found.text}, "" if found.verbatim else "section"


def _labelled(item: Item, known: Any) -> Checked:
    """A label in another case, in the plural or in British spelling is mended; any other is none."""
    said = re.sub(r"[^a-z]", "", item["label"].casefold()).replace("behaviour", "behavior")
    label = said if said in LABELS else said.removesuffix("s")
    if label not in LABELS:
        return None, "label"
    return item | {"label": label}, "" if label == item["label"] else "label"


def _on_a_rule(item: Item, known: Mapping[str, str]) -> Checked:
    """known: the key of each rule's name -> its name."""
    rule = known.get(key_of(item["rule"].split(":")[0]))
    return (item | {"rule": rule}, "") if rule else (None, "no such rule")
