"""Read an experiment file: YAML in, overrides on top, `ExperimentSettings` out; errors name file, line and nearest key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from msm_ray.config import ExperimentSettings
from msm_ray.errors import SettingsError

Path_ = tuple[str | int, ...]


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentSettings:
    """The settings in `path` with `key.sub=value` overrides applied.

    Relative paths in the file are taken from the working directory, as on a cluster (`--working-dir .`).
    Raises SettingsError: file missing, not YAML, an unknown or impossible value (with its line and the nearest key).
    """
    text = _read(Path(path))
    tree, lines = _parse(text, str(path))
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: an experiment file is a YAML mapping; this one holds {type(tree).__name__}")
    for override in overrides:
        _apply(tree, lines, override)
    _inherit(tree)
    try:
        return ExperimentSettings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(_explain(error, str(path), lines)) from None


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


def _parse(text: str, path: str) -> tuple[Any, dict[Path_, int]]:
    """The YAML's content and the line (from 1) of every key in it. A key given twice is an error."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        raise SettingsError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from None
    lines: dict[Path_, int] = {}
    if node is not None:
        _collect_lines(node, (), lines, path)
    return content, lines


def _collect_lines(node: yaml.Node, at: Path_, lines: dict[Path_, int], path: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = (*at, key.value)
            if where in lines and key.value != "<<":
                raise SettingsError(
                    f"{path}:{key.start_mark.line + 1}: '{key.value}' is given twice (first on line {lines[where]})"
                )
            lines[where] = key.start_mark.line + 1
            _collect_lines(value, where, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            _collect_lines(item, (*at, index), lines, path)


def _apply(tree: dict, lines: dict[Path_, int], override: str) -> None:
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
        inner[at[-1]] = _number(yaml.safe_load(value))
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


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text (it wants 1.0e-4); people mean the number."""
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() and not value.lower().startswith("0x") else value
        except ValueError:
            return value
    return value


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


def _explain(error: ValidationError, path: str, lines: dict[Path_, int]) -> str:
    """One line per problem: where, what, and the nearest key that exists."""
    problems = []
    for problem in error.errors():
        at = tuple(key for key in problem["loc"] if not _is_union_tag(key, problem["loc"], lines))
        where = f"{path}{_line(at, lines)}"
        key = ".".join(str(k) for k in at)
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
    return "\n".join(problems)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _is_union_tag(key: str | int, loc: tuple, lines: dict[Path_, int]) -> bool:
    """Pydantic puts the tag of a discriminated union ('preferences') into the location; the YAML has no such key."""
    return key in ("preferences", "agentic", "answers") and loc[0] == "evals" and loc.index(key) == 2


def _line(at: Path_, lines: dict[Path_, int]) -> str:
    """`:12` for the deepest part of the path that the file has."""
    for depth in range(len(at), 0, -1):
        if at[:depth] in lines:
            line = lines[at[:depth]]
            return f":{line}" if line else " (command line)"
    return ""


def _known_keys(at: Path_) -> list[str]:
    """The keys that the settings at a path may have."""
    kinds: list[Any] = [ExperimentSettings]
    for key in at:
        kinds = [inner for kind in kinds for inner in _inner(kind, key)]
    names = {name for kind in kinds if _is_model(kind) for name in kind.model_fields}
    return sorted(names)


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
