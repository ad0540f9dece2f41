"""Answers that are lists of JSON objects, as models really give them: in fences, with prose around, cut off in the middle.

What is whole is taken; what is not costs itself alone (all-or-nothing parsing threw 61 finished answers away: paper.md, point 4).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msm_ray.rows.files import as_unicode


def items_schema(fields: Mapping[str, Mapping[str, Any]], most: int | None = None) -> dict[str, Any]:
    """The schema of `{"items": [{...}, ...]}`, every field needed and no other allowed: what strict servers take.

    most: a bound on the number of items, for small models that never stop.
    """
    one = {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}
    items: dict[str, Any] = {"type": "array", "items": one}
    if most:
        items["maxItems"] = most
    return {"type": "object", "properties": {"items": items}, "required": ["items"], "additionalProperties": False}


def read_objects(text: str) -> list[dict[str, Any]]:
    """Every whole JSON object of the list in an answer, in order.

    The list may stand under `items` or another key, in a fence, with words before and after; a list of texts gives none. Half an
    emoji, as JSON can escape it, is no text that could be written or asked with, and is replaced.
    """
    decoder, found, at = json.JSONDecoder(strict=False), [], 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            at = start + 1  # the wrapping of an answer that was cut off, or prose: what is inside may be whole
            continue
        found += _inner(as_unicode(value))
    return found


def _inner(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of the list that an object wraps, at any depth and whatever stands beside it, or the object itself.

    Of several lists the one called `items`.
    """
    lists = {
        key: each
        for key, each in value.items()
        if isinstance(each, list) and any(isinstance(one, dict) for one in each)
    }
    wrapped = lists.get("items") or (next(iter(lists.values())) if len(lists) == 1 else None)
    if wrapped:
        return [each for each in wrapped if isinstance(each, dict)]
    if isinstance(value.get("items"), list):
        return []
    deeper = [found for each in value.values() if isinstance(each, dict) and (found := _inner(each)) != [each]]
    return deeper[0] if not lists and len(deeper) == 1 else [dict(value)]


def texts_of(item: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str] | None:
    """The fields of an item as stripped texts; None where one is missing, empty or no text."""
    values = {name: as_unicode(item.get(name)) for name in fields}
    if not all(isinstance(value, str) and value.strip() for value in values.values()):
        return None
    return {name: str(value).strip() for name, value in values.items()}
