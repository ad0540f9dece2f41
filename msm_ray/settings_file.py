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
from msm_ray.evals.registry import TASKS
from msm_ray.yaml_tree import At, read_tree, read_value


@dataclass(frozen=True)
class SettingsFile:
    """An experiment's settings and where each was given. lines: of every key in the file (from 1; 0: the command line)."""

    settings: ExperimentSettings
    path: str
    lines: Mapping[At, int]

    def place(self, at: At) -> tuple[int | None, str]:
        """Line and dotted name of a setting: where the file has none, of what it inherits or of the section around it."""
        return place(at, self.lines)

    def says(self, at: At) -> bool:
        """Whether a setting is given, in its own place or where it is inherited from, and not a default."""
        return any(whole in self.lines for whole in (at, *_inherited_from(at)))


def place(at: At, lines: Mapping[At, int]) -> tuple[int | None, str]:
    """Line and dotted name of a setting, as `SettingsFile.place` says."""
    said = next((whole for whole in (at, *_inherited_from(at)) if whole in lines), at)
    line = next((lines[said[:n]] for n in range(len(said), 0, -1) if said[:n] in lines), None)
    return line, dotted(said)


class WrongSettings(SettingsError):
    """All that is wrong in an experiment file. problems: path and words of each; sound: the settings without these."""

    def __init__(
        self, problems: Sequence[tuple[At, str]], path: str, lines: Mapping[At, int], sound: ExperimentSettings | None
    ):
        super().__init__("\n".join(f"{path}{_line(at, lines)}: {problem}" for at, problem in problems))
        self.problems = tuple(problems)
        self.path, self.lines = path, lines
        sections = [at[:-1] if any(map(_is_model, _kinds(at[:-1]))) else at for at, _ in problems]
        self._sections = [section for section in sections if section]
        self.sound = SettingsFile(sound, path, lines) if sound is not None else None

    def clouds(self, key: str) -> bool:
        """Whether what is found about a setting may only follow from what is wrong: the same section then has a default."""
        at: At = tuple(key.split("."))
        return any(whole[: len(part)] == part for part in self._sections for whole in (at, *_inherited_from(at)))


def dotted(at: At) -> str:
    """`("aft", "lora", "r")` as `aft.lora.r`."""
    return ".".join(map(str, at))


def _inherited_from(at: At) -> list[At]:
    """What a corpus does not say is said by `documents`, what a group does not say by `aft`."""
    if at[:1] == ("corpora",) and len(at) > 2:
        return [("documents", *at[2:])]
    return [at[2:]] if at[:1] == ("groups",) and len(at) > 3 else []


def _heirs(tree: dict, at: At) -> list[At]:
    """Where a setting of `documents` or `aft` is inherited to; the other way round than `_inherited_from`."""
    corpora, groups = tree.get("corpora") or {}, tree.get("groups") or {}
    heirs: dict[str, list[At]] = {
        "documents": [("corpora", name) for name in corpora],
        "aft": [("groups", name, "aft") for name in groups],
    }
    return [(*heir, *at[1:]) for heir in heirs.get(str(at[0]), [])] if len(at) > 1 else []


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
    problems = [(at, f"'{dotted(at)}': {problem}") for at, problem in unset]
    problems += _numbers_that_are_none(tree, ())
    _inherit(tree)
    try:
        settings = ExperimentSettings.model_validate(tree)
    except ValidationError as error:
        problems += _explain(error, lines)
        sound, names = _sound_part(tree, lines)
        raise WrongSettings(problems + names, str(path), lines, sound) from None
    if problems:
        raise WrongSettings(problems, str(path), lines, settings)
    return SettingsFile(settings, str(path), lines)


def _sound_part(tree: dict, lines: Mapping[At, int]) -> tuple[ExperimentSettings | None, list[tuple[At, str]]]:
    """The settings without what is wrong in them and what goes on from that, and the unknown names in it.

    None where nothing can be made of the rest. Names are looked at when all values are right; those that are unknown only
    since what they name had to go are not told.
    """
    names: list[tuple[At, str]] = []
    gone: list[At] = []
    for _ in range(10):
        try:
            return ExperimentSettings.model_validate(tree), names
        except ValidationError as error:
            parts = [at for problem in error.errors() for at in _wrong_parts(problem, lines)]
            if gone and not names and not any(_defines_names(at) for at in gone):
                names = [problem for problem in _explain(error, lines) if problem[0] and problem[0] not in gone]
            parts += [heir for at in parts for heir in _heirs(tree, at) if heir not in lines]
            for at in sorted(parts, key=lambda at: tuple(map(str, at)), reverse=True):  # of a list, the last first
                _remove(tree, at)
            gone += parts
    return None, names


def _defines_names(at: At) -> bool:
    """Whether what had to go defines names that other parts use, or was meant to (`spec:` for `specs:`)."""
    return 0 < len(at) <= 2 and (_nearest(at[:1]) or at[0]) in ("arms", "evals", "specs", "chats")


def _wrong_parts(problem: Any, lines: Mapping[At, int]) -> list[At]:
    """What has to go: a value, the section that lacks one, the arm or comparison that uses an unknown name."""
    at = _place(problem["loc"], lines)
    if not at:
        unknown = getattr((problem.get("ctx") or {}).get("error"), "problems", [])
        return [where[: {"arms": 2, "report": 3}.get(str(where[0]), len(where))] for where, _ in unknown]
    return [at[:-1] if problem["type"] == "missing" else at]


def _remove(tree: Any, at: At) -> None:
    """Take the part at a path out of a tree, if it is there."""
    for key in at[:-1]:
        if not isinstance(tree, dict | list) or (isinstance(tree, dict) and key not in tree):
            return
        tree = tree[key]  # type: ignore[index]
    if at and isinstance(tree, dict):
        tree.pop(at[-1], None)
    elif at and isinstance(tree, list) and isinstance(at[-1], int) and at[-1] < len(tree):
        del tree[at[-1]]


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
    none = value is None and not text.strip().startswith("#")
    return value if quoted or none or not _is_text(kinds) else text


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


def _numbers_that_are_none(tree: Any, at: At) -> list[tuple[At, str]]:
    """`seeds: true` where a number is wanted, which pydantic would take for 1."""
    if isinstance(tree, dict | list):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [found for key, part in parts for found in _numbers_that_are_none(part, (*at, key))]
    kinds = _kinds(at) if isinstance(tree, bool) else []
    if bool in kinds or not {int, float} & {kind for kind in kinds if isinstance(kind, type)}:
        return []
    word = str(tree).lower()
    return [(at, f"'{dotted(at)}' = {word}: a number is wanted, and '{word}' is none")]


def _explain(error: ValidationError, lines: Mapping[At, int]) -> list[tuple[At, str]]:
    """Each problem: where, and what is wrong, with the nearest key that exists."""
    problems: list[tuple[At, str]] = []
    for problem in _each_once(error, lines):
        at = _place(problem["loc"], lines)
        key = dotted(at)
        if problem["type"] == "extra_forbidden":
            near = _nearest(at)
            hint = f"did you mean '{near}'?" if near else f"known keys: {', '.join(_known_keys(at[:-1]))}"
            problems.append((at, f"unknown key '{key}'; {hint}"))
        elif problem["type"] == "missing":
            problems.append((at, f"'{key}' is missing"))
        elif not at:
            raised = (problem.get("ctx") or {}).get("error")
            problems += getattr(raised, "problems", [((), _plain(problem["msg"]))])
        else:
            problems.append((at, f"'{key}' = {problem['input']!r}: {_plain(problem['msg'])}"))
    return problems


def _each_once(error: ValidationError, lines: Mapping[At, int]) -> list[Any]:
    """The problems without what only follows from another: inherited from where it is told, or missing since it is misspelt."""
    found = {_place(problem["loc"], lines): problem for problem in error.errors() if problem["loc"]}
    unknown = {at for at, problem in found.items() if problem["type"] == "extra_forbidden"}
    meant = {(*at[:-1], _nearest(at)) for at in unknown}
    follows = {at for at, problem in found.items() if problem["type"] == "missing" and at in meant}
    follows |= {at for at in found if at not in lines and any(whole in found for whole in _inherited_from(at))}
    return [problem for problem in error.errors() if _place(problem["loc"], lines) not in follows]


def _place(loc: tuple[str | int, ...], lines: Mapping[At, int]) -> At:
    return tuple(key for key in loc if not _is_union_tag(key, loc, lines))


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _is_union_tag(key: str | int, loc: tuple, lines: Mapping[At, int]) -> bool:
    """Pydantic puts the tag of a discriminated union (an eval's task) into the location; the YAML has no such key."""
    return key in TASKS and loc[0] == "evals" and loc.index(key) == 2


def _line(at: At, lines: Mapping[At, int]) -> str:
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


def _nearest(at: At) -> str | None:
    """The key that a misspelt one is likely to mean."""
    near = difflib.get_close_matches(str(at[-1]), _known_keys(at[:-1]), n=1, cutoff=0.5)
    return near[0] if near else None


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
