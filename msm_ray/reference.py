"""Every setting and every command as the code has them: for `msm settings`, and for docs/reference, which a test compares.

`python -m msm_ray.reference` writes both pages anew.
"""

from __future__ import annotations

import difflib
import json
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from msm_ray.config import ExperimentSettings
from msm_ray.errors import SettingsError
from msm_ray.settings_base import NOT_CONTENT, Unit

FOLDER = Path("docs/reference")
REMAKE = "python -m msm_ray.reference"
PLACES = {
    "corpora": "SPEC", "chats": "NAME", "arms": "ARM", "groups": "GROUP", "evals": "NAME", "kinds": "KIND",
    "comparisons": "N", "figures": "N",
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
        free=key[0] in ALWAYS_FREE or key[-1] in NOT_CONTENT,
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


def settings_page() -> str:
    """docs/reference/settings.md: a table for each kind of section, with the places where it stands."""
    places: dict[tuple[str, str], dict[str, list[Setting]]] = {}
    for each in settings():
        place = each.key.rpartition(".")[0]
        places.setdefault((each.section, each.of), {}).setdefault(place, []).append(each)
    return "\n".join([SETTINGS_HEAD, *(line for there in places.values() for line in _section(there)), ""])


def _section(places: Mapping[str, Sequence[Setting]]) -> list[str]:
    """One table: keys of the first place, and what is another default elsewhere."""
    first, *others = places
    rows = places[first]
    title = ", ".join(f"`{place}`" for place in places) if first else "An experiment"
    lines = [f"## {title}{f' (task: {rows[0].of})' if rows[0].of else ''}", ""]
    for place in others:
        differing = [
            f"`{mine.key}` is {mine.default}"
            for mine, theirs in zip(places[place], rows, strict=True)
            if mine.default != theirs.default
        ]
        lines += [f"Other defaults: {', '.join(differing)}.", ""] if differing else []
    all_free = all(each.free for each in rows)
    lines += ["Changes of these make nothing stale.", ""] if all_free else []
    lines += ["| key | kind | unit | default | meaning | in the paper |", "|---|---|---|---|---|---|"]
    for each in rows:
        meaning = each.meaning + (" *Makes nothing stale.*" if each.free and not all_free else "")
        key = each.key.rpartition(".")[2]
        lines.append(_row(f"`{key}`", each.kind, each.unit, each.default, meaning, each.paper))
    return [*lines, ""]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


SETTINGS_HEAD = f"""# Settings

Made from the code by `{REMAKE}`. `msm settings KEY` says the same at the terminal. What the paper (arXiv 2605.02087)
has stands beside each setting that it says something about. A key is written with dots on the command line (`aft.lora.r=32`),
as sections in a file. Words in capitals are names of your own, N is an element's number, counted from 0. *Makes nothing stale*:
it may be changed at any time; where another setting decided what is there, a run with a changed one stops and names it.
"""


def commands_page() -> str:
    """docs/reference/commands.md: every command's help, arguments, options and example."""
    import typer.main

    from msm_ray import cli

    group: Any = typer.main.get_command(cli.app)
    lines = [COMMANDS_HEAD]
    for name, command in group.commands.items():
        lines += [f"## msm {name}", "", " ".join((command.help or "").split()), "", f"    {_usage(name, command)}", ""]
        lines += [*_parameters(command), *_example(command.epilog or "")]
    return "\n".join(lines)


def _usage(name: str, command: Any) -> str:
    words = []
    for each in command.params:
        if each.param_type_name != "argument":
            continue
        word = each.name.upper() + ("..." if each.nargs == -1 else "")
        words.append(word if each.required else f"[{word}]")
    return " ".join(["msm", name, *words, "[options]"])


def _parameters(command: Any) -> list[str]:
    rows = []
    for each in command.params:
        option = each.param_type_name == "option"
        takes = f" {each.name.upper()}" if option and not each.is_flag else ""
        shown = ", ".join(f"`{word}{takes}`" for word in each.opts) if option else f"`{each.name.upper()}`"
        rows.append(_row(shown, " ".join((getattr(each, "help", "") or "").split())))
    return ["| | |", "|---|---|", *rows, ""] if rows else []


def _example(epilog: str) -> list[str]:
    """The examples beneath a command's help, as `cli.example` writes them."""
    return [f"    {line.strip()}" for line in epilog.splitlines()[1:] if line.strip()] + [""]


COMMANDS_HEAD = f"""# Commands

Made from the code by `{REMAKE}`. `msm COMMAND --help` says the same at the terminal, `msm --version` says which
version this is.

Exit codes: 0 done, 1 a stage failed, 2 usage or settings, 3 preflight (this machine, a key or an account lacks something), 4 a
quality gate, 130 interrupted. The same command goes on after any of them.
"""


def write(folder: Path = FOLDER) -> None:
    """Both pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
