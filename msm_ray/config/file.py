"""Read an experiment file: YAML in, overrides on top, `ExperimentSettings` out; errors name file, line and nearest key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from msm_ray.config import ExperimentSettings, variables
from msm_ray.config.overrides import apply_override
from msm_ray.config.paths import (
    dotted,
    heirs_of,
    inherited_from,
    is_model,
    kinds_at,
    known_keys,
    moved_key,
    nearest_key,
)
from msm_ray.errors import SettingsError
from msm_ray.evals.registry import TASKS
from msm_ray.generate.writer_settings import WriterSettings
from msm_ray.yaml_tree import At, read_tree


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
        return any(whole in self.lines for whole in (at, *inherited_from(at)))


def place(at: At, lines: Mapping[At, int]) -> tuple[int | None, str]:
    """Line and dotted name of a setting, as `SettingsFile.place` says."""
    said = next((whole for whole in (at, *inherited_from(at)) if whole in lines), at)
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
        sections = [at[:-1] if any(map(is_model, kinds_at(at[:-1]))) else at for at, _ in problems]
        self._sections = [section for section in sections if section]
        self.sound = SettingsFile(sound, path, lines) if sound is not None else None

    def clouds(self, key: str) -> bool:
        """Whether what is found about a setting may only follow from what is wrong: the same section then has a default."""
        at: At = tuple(key.split("."))
        return any(whole[: len(part)] == part for part in self._sections for whole in (at, *inherited_from(at)))


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
    chosen = [override for override in overrides if override.startswith("variant=")]
    for override in chosen:
        apply_override(tree, lines, override)
    _take_variant(tree, lines)
    for override in overrides:
        if override not in chosen:
            apply_override(tree, lines, override)
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
            parts += [heir for at in parts for heir in heirs_of(tree, at) if heir not in lines]
            for at in sorted(parts, key=lambda at: tuple(map(str, at)), reverse=True):  # of a list, the last first
                _remove(tree, at)
            gone += parts
    return None, names


def _defines_names(at: At) -> bool:
    """Whether what had to go defines names that other parts use, or was meant to (`spec:` for `specs:`)."""
    return 0 < len(at) <= 2 and (nearest_key(at[:1]) or at[0]) in ("arms", "evals", "specs", "chats")


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


def _take_variant(tree: dict, lines: dict[At, int]) -> None:
    """Put what the chosen variant says in the place of what the file says. Raises SettingsError for one that isn't there."""
    name, variants = tree.get("variant"), tree.get("variants") or {}
    if name is None or not isinstance(variants, dict):
        return
    if not isinstance(variants.get(name), dict):
        raise SettingsError(f"variant={name}: there is no such variant; there are: {', '.join(variants) or 'none'}")
    for key, value in variants[name].items():
        at: At = tuple(str(key).split("."))
        section = tree
        for part in at[:-1]:
            section = section.setdefault(part, {}) if isinstance(section, dict) else {}
        section[at[-1]] = value
        said: At = ("variants", name, key)
        for old in [each for each in lines if each[: len(at)] == at]:
            del lines[old]
        lines |= {(*at, *each[len(said) :]): line for each, line in lines.items() if each[: len(said)] == said}


def _inherit(tree: dict) -> None:
    """A section says only what differs: `documents` from `writer`, a corpus from `documents`, a group of arms from `aft`."""
    writer = tree.get("writer")
    if isinstance(writer, dict) and isinstance(tree.get("documents") or {}, dict):
        shared = {key: value for key, value in writer.items() if key in WriterSettings.inherited}
        tree["documents"] = _over(shared, tree.get("documents") or {})
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
    kinds = kinds_at(at) if isinstance(tree, bool) else []
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
            near = nearest_key(at)
            known = f"did you mean '{near}'?" if near else f"known keys: {', '.join(known_keys(at[:-1]))}"
            hint = moved_key(at) or known
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
    meant = {(*at[:-1], nearest_key(at)) for at in unknown}
    follows = {at for at, problem in found.items() if problem["type"] == "missing" and at in meant}
    follows |= {at for at in found if at not in lines and any(whole in found for whole in inherited_from(at))}
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
