"""Read an experiment file: YAML in, overrides on top, `ExperimentSettings` out; errors name file, line and nearest key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from msm_ray import variables
from msm_ray.config import ExperimentSettings
from msm_ray.errors import SettingsError
from msm_ray.yaml_tree import At, read_tree, read_value


@dataclass(frozen=True)
class SettingsFile:
    """An experiment's settings and where each was given. lines: of every key in the file (from 1; 0: the command line)."""

    settings: ExperimentSettings
    path: str
    lines: Mapping[At, int]

    def place(self, at: At) -> tuple[int | None, str]:
        """Line and dotted name of a setting: where the file has none, of what it inherits or of the section around it."""
        said = next((whole for whole in (at, *_inherited_from(at)) if whole in self.lines), at)
        line = next((self.lines[said[:n]] for n in range(len(said), 0, -1) if said[:n] in self.lines), None)
        return line, dotted(said)


def dotted(at: At) -> str:
    """`("aft", "lora", "r")` as `aft.lora.r`."""
    return ".".join(map(str, at))


def _inherited_from(at: At) -> list[At]:
    """What a corpus does not say is said by `documents`, what a group does not say by `aft`."""
    if at[:1] == ("corpora",) and len(at) > 2:
        return [("documents", *at[2:])]
    return [at[2:]] if at[:1] == ("groups",) and len(at) > 3 else []


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentSettings:
    """The settings in `path`, as `read_experiment` gives them."""
    return read_experiment(path, overrides).settings


def read_experiment(path: str | Path, overrides: Sequence[str] = ()) -> SettingsFile:
    """The settings in `path` with `key.sub=value` overrides applied, and their lines.

    Relative paths in the file are taken from the working directory, as on a cluster (`--working-dir .`).
    Raises SettingsError: file missing, not YAML, an unknown or impossible value (with its line and the nearest key).
    """
    text = _read(Path(path))
    tree, lines = read_tree(text, str(path))
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: an experiment file is a YAML mapping; this one holds {type(tree).__name__}")
    for override in overrides:
        _apply(tree, lines, override)
    tree, unset = variables.expand(tree)
    problems = [f"{path}{_line(at, lines)}: '{dotted(at)}': {problem}" for at, problem in unset]
    problems += _numbers_that_are_none(tree, (), str(path), lines)
    _inherit(tree)
    try:
        settings = ExperimentSettings.model_validate(tree)
    except ValidationError as error:
        problems += _explain(error, str(path), lines)
    if problems:
        raise SettingsError("\n".join(problems))
    return SettingsFile(settings, str(path), lines)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(sorted(str(p) for p in Path("jobs").glob("*.yaml")))
        raise SettingsError(f"{path}: no such experiment file" + (f"; there are {known}" if known else "")) from None
    except IsADirectoryError:
        raise SettingsError(f"{path}: a folder, not an experiment file") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None


def _apply(tree: dict, lines: dict[At, int], override: str) -> None:
    """Set `a.b.c=value` (`a.0=value` in a list) in the tree; the value is read as YAML. Line 0 stands for the command line."""
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise SettingsError(f"'{override}': an override is key=value or section.key=value, e.g. aft.learning_rate=1e-4")
    inner: Any = tree
    at: list[str | int] = []
    for word in name.split("."):
        if at:
            inner = _section(inner, at[-1], override)
        at.append(_index(word, inner, override) if isinstance(inner, list) else word)
        lines.setdefault(tuple(at), 0)
    try:
        inner[at[-1]] = _value(value, _kinds(at))
    except yaml.YAMLError:
        raise SettingsError(f"'{override}': the value is not valid YAML") from None
    lines[tuple(at)] = 0


def _section(tree: Any, key: str | int, override: str) -> dict | list:
    """What `key` holds; a section that is not there yet is made."""
    if isinstance(tree, dict) and tree.get(key) is None:
        tree[key] = {}
    if not isinstance(tree[key], dict | list):
        raise SettingsError(f"'{override}': '{key}' holds a value, not a section")
    return tree[key]


def _index(word: str, elements: list, override: str) -> int:
    """The place of a list's element, counted from 0."""
    if word.isdecimal() and int(word) < len(elements):
        return int(word)
    last = f"from 0 to {len(elements) - 1}" if elements else "and it is empty"
    raise SettingsError(f"'{override}': '{word}' is no element of the list; they are numbered, {last}")


def _value(text: str, kinds: Sequence[Any]) -> Any:
    """An override's value as YAML; where the setting is a text, the text as it is (` #12` is no comment there)."""
    try:
        value = read_value(text)
    except yaml.YAMLError:
        if _is_text(kinds):
            return text
        raise
    quoted = isinstance(value, str) and text.strip()[:1] in ("'", '"')
    return value if quoted or value is None or not _is_text(kinds) else text


def _is_text(kinds: Sequence[Any]) -> bool:
    """Whether a setting of these types holds a text and nothing else."""
    return bool(kinds) and all(kind in (str, type(None)) for kind in kinds)


def _inherit(tree: dict) -> None:
    """A corpus says only what differs from `documents`, a group of arms only what differs from `aft`."""
    corpora, groups = tree.get("corpora") or {}, tree.get("groups") or {}
    if isinstance(corpora, dict):
        tree["corpora"] = {spec: _over(tree.get("documents"), own) for spec, own in corpora.items()}
    if tree.get("groups", {}) is None:
        tree["groups"] = {}  # a section whose every line is a comment
    for group in groups.values() if isinstance(groups, dict) else ():
        if isinstance(group, dict) and "aft" in group:
            group["aft"] = _over(tree.get("aft"), group["aft"])


def _over(shared: Any, own: Any) -> Any:
    """`own` on top of `shared`, key by key and section by section; where they are no sections, `own` alone."""
    if not (isinstance(own, dict) and isinstance(shared, dict)):
        return own
    return {**shared, **{key: _over(shared.get(key), value) for key, value in own.items()}}


def _numbers_that_are_none(tree: Any, at: At, path: str, lines: dict[At, int]) -> list[str]:
    """`seeds: true` where a number is wanted, which pydantic would take for 1."""
    if isinstance(tree, dict | list):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [found for key, part in parts for found in _numbers_that_are_none(part, (*at, key), path, lines)]
    kinds = _kinds(at) if isinstance(tree, bool) else []
    if bool in kinds or not {int, float} & {kind for kind in kinds if isinstance(kind, type)}:
        return []
    word = str(tree).lower()
    return [f"{path}{_line(at, lines)}: '{dotted(at)}' = {word}: a number is wanted, and '{word}' is none"]


def _explain(error: ValidationError, path: str, lines: dict[At, int]) -> list[str]:
    """One line per problem: where, what, and the nearest key that exists."""
    problems = []
    for problem in error.errors():
        at = tuple(key for key in problem["loc"] if not _is_union_tag(key, problem["loc"], lines))
        where = f"{path}{_line(at, lines)}"
        key = dotted(at)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(at[:-1])
            near = difflib.get_close_matches(str(at[-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
            problems.append(f"{where}: unknown key '{key}'; {hint}")
        elif problem["type"] == "missing":
            problems.append(f"{where}: '{key}' is missing")
        elif not at:
            named_at = getattr((problem.get("ctx") or {}).get("error"), "at", ())
            problems.append(f"{path}{_line(named_at, lines)}: {_plain(problem['msg'])}")
        else:
            problems.append(f"{where}: '{key}' = {problem['input']!r}: {_plain(problem['msg'])}")
    return problems


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _is_union_tag(key: str | int, loc: tuple, lines: dict[At, int]) -> bool:
    """Pydantic puts the tag of a discriminated union ('preferences') into the location; the YAML has no such key."""
    return key in ("preferences", "agentic", "answers") and loc[0] == "evals" and loc.index(key) == 2


def _line(at: At, lines: dict[At, int]) -> str:
    """`:12` for the deepest part of the path that the file has."""
    for depth in range(len(at), 0, -1):
        if at[:depth] in lines:
            line = lines[at[:depth]]
            return f":{line}" if line else " (command line)"
    return ""


def _known_keys(at: At) -> list[str]:
    """The keys that the settings at a path may have."""
    names = {name for kind in _kinds(at) if _is_model(kind) for name in kind.model_fields}
    return sorted(names)


def _kinds(at: Sequence[str | int]) -> list[Any]:
    """The types that the setting at a path may have; none where there is no such setting."""
    kinds: list[Any] = [ExperimentSettings]
    for key in at:
        kinds = [inner for kind in kinds for inner in _inner(kind, key)]
    return kinds


def _inner(kind: Any, key: str | int) -> list[Any]:
    """The types found under `key` of a settings class, a dict or a tuple."""
    if _is_model(kind):
        field = kind.model_fields.get(key)
        return _members(field.annotation) if field else []
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (dict, tuple) and arguments:
        return _members(arguments[1] if typing.get_origin(kind) is dict else arguments[0])
    return []


def _members(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for part in typing.get_args(annotation) for inner in _members(part)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
