"""Every setting as the code has it: for `msm settings`, and for docs/reference (`reference_pages.py`)."""

from __future__ import annotations

import difflib
import json
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from msm_ray.config import ExperimentSettings
from msm_ray.errors import SettingsError
from msm_ray.settings_base import Unit, is_where

PLACES = {
    "corpora": "SPEC", "calls": "CALL", "writers": "NAME", "chats": "NAME", "parts": "PART", "arms": "ARM", "groups": "GROUP",
    "evals": "NAME", "kinds": "KIND", "comparisons": "N", "figures": "N",
}  # fmt: skip
"""What stands in a key for a name of the user's, or for an element's number."""
WORDS = {
    int: "whole number", float: "number", str: "text", bool: "true or false", dict: "names and values", tuple: "list",
}  # fmt: skip
OPEN = ("names and values", "list")
"""Kinds of settings that hold more: `specs.mine`, `aft.betas.0`."""
ALWAYS_FREE = ("cluster", "tracking")
"""Sections of which nothing is ever part of what is made."""


@dataclass(frozen=True)
class Setting:
    """One setting. key: dotted, names of the user's in capitals; kind: what may stand there; free: a change makes nothing stale.

    section: the class that holds it; of: what it is a setting of, where several kinds of sections share a place.
    """

    key: str
    kind: str
    unit: str
    default: str
    meaning: str
    paper: str
    free: bool
    section: str
    of: str = ""


@lru_cache
def settings() -> tuple[Setting, ...]:
    """Every setting of an experiment, sections before what they hold, in the order of the code."""
    return tuple(_walk(ExperimentSettings, (), None))


def look_up(key: str) -> list[Setting]:
    """The setting of that key and, of a section, what it holds; names of the user's (`evals.america.pairs`) fit any.

    Raises SettingsError where there is none, with the nearest that there is.
    """
    words = key.split(".")
    found = [setting for setting in settings() if _fits(setting.key, words)]
    found = found or [one for one in settings() if one.kind.startswith(OPEN) and _fits(one.key, words[:-1], whole=True)]
    if not found:
        near = difflib.get_close_matches(key, [setting.key for setting in settings()], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`msm settings` lists them"
        raise SettingsError(f"{key}: no such setting; {hint}")
    return found


def _fits(key: str, words: Sequence[str], *, whole: bool = False) -> bool:
    """Whether a key is the one of these words or, unless the whole of it has to be, one below it."""
    own = key.split(".")
    long_enough = len(own) == len(words) or (len(own) > len(words) and not whole)
    return long_enough and all(word == part or part.isupper() for part, word in zip(own, words, strict=False))


def _walk(section: type[BaseModel], at: tuple[str, ...], given: BaseModel | None, of: str = "") -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        key = (*at, name)
        one = _setting(section, key, field, getattr(given, name) if given is not None else field.default, of)
        inner = _sections(field.annotation)
        yield replace(one, kind="section", default="") if inner else one
        below = (*key, PLACES[name]) if inner and name in PLACES else key
        own = getattr(given, name) if given is not None else field.default
        for part in inner:
            kind = part.model_fields["task"].default if len(inner) > 1 else of
            yield from _walk(part, below, own if isinstance(own, part) else None, kind)


def _setting(section: type[BaseModel], key: tuple[str, ...], field: FieldInfo, default: Any, of: str) -> Setting:
    meaning, _, paper = " ".join((field.description or "").split()).partition(" Paper: ")
    limits = [each for each in _metadata(field) if not isinstance(each, Unit)]
    return Setting(
        key=".".join(key),
        kind=" ".join([_kind(field.annotation), *map(_limit, limits)]).strip(),
        unit=next((each.name for each in _metadata(field) if isinstance(each, Unit)), ""),
        default=_written(default),
        meaning=meaning,
        paper=paper.removesuffix("."),
        free=key[0] in ALWAYS_FREE or is_where(section, key[-1]),
        section=section.__name__,
        of=of,
    )


def _metadata(field: FieldInfo) -> list[Any]:
    """Limits and units, of the field and of a member of its union (`Tokens | None`)."""
    inner = [each for part in typing.get_args(field.annotation) for each in typing.get_args(part)[1:]]
    found = [*field.metadata, *inner]
    return [each for whole in found for each in (whole.metadata if isinstance(whole, FieldInfo) else [whole])]


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The classes of settings that an annotation is made of: itself, one of a union, the values of a dict or list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _sections(part)]


def _kind(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(parts[0])
    if origin is Literal:
        return " or ".join(map(_written, parts))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in parts if part is not type(None)))
    if origin is tuple:
        return f"list of {len(parts)}" if Ellipsis not in parts else f"list of {_kind(parts[0])}s"
    return WORDS.get(origin or annotation, "")


def _limit(limit: Any) -> str:
    match limit:
        case Gt(gt=low):
            return f"above {low:g}"
        case Ge(ge=low):
            return f"from {low:g}"
        case Lt(lt=high):
            return f"below {high:g}"
        case Le(le=high):
            return f"to {high:g}"
    return ""


def _written(value: Any) -> str:
    """A value as it would stand in YAML."""
    if value is PydanticUndefined:
        return "required"
    if value in (None, (), {}, ""):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def show(found: Sequence[Setting], width: int = 100) -> str:
    """Settings for people: one in full, of a section a line for each that it holds."""
    depth = min(setting.key.count(".") for setting in found)
    top = [setting for setting in found if setting.key.count(".") == depth]
    if len(found) == len(top):
        return "\n\n".join(_in_full(setting, width) for setting in top)
    below = [each for each in found if each.kind != "section" and each not in top]
    return "\n".join([f"{top[0].key}: {top[0].meaning}", "", *_lines(below, width), "", *_more(below[-1].key)])


def overview(width: int = 100) -> str:
    """The first level of settings, a line each."""
    return "\n".join([*_lines([each for each in settings() if "." not in each.key], width), "", *_more("aft.steps")])


def _more(key: str) -> list[str]:
    return [f"`msm settings {key}` says more of one, `msm settings SECTION` what is in a section."]


def _lines(found: Sequence[Setting], width: int) -> list[str]:
    keys = [f"{each.key} ({each.of})" if each.of else each.key for each in found]
    defaults = [textwrap.shorten(each.default, 16, placeholder="...") for each in found]
    first, second = max(map(len, keys)) + 2, max(map(len, defaults)) + 2
    room = max(30, width - first - second)
    return [
        f"{key:{first}}{default:{second}}{textwrap.shorten(each.meaning, room, placeholder=' ...')}"
        for key, default, each in zip(keys, defaults, found, strict=True)
    ]


def _in_full(setting: Setting, width: int) -> str:
    facts = {
        "": setting.meaning,
        "of": f"evals with task: {setting.of}" if setting.of else "",
        "kind": setting.kind,
        "unit": setting.unit,
        "default": setting.default,
        "paper": setting.paper or "does not say",
        "change": "at any time: it makes nothing stale" if setting.free else "",
    }
    lines = [
        textwrap.fill(
            said, width, initial_indent=f"  {name:9}" if name else "  ", subsequent_indent=" " * (11 if name else 2)
        )
        for name, said in facts.items()
        if said
    ]
    return "\n".join([setting.key, *lines])


def as_json(found: Iterable[Setting]) -> str:
    """A JSON list of settings."""
    return json.dumps([asdict(setting) for setting in found], indent=1, ensure_ascii=False)
