"""Overrides on the command line: `a.b.c=value` set in the tree of an experiment file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from msm_ray.config.paths import is_text, kinds_at
from msm_ray.errors import SettingsError
from msm_ray.yaml_tree import At, read_value


def apply_override(tree: dict, lines: dict[At, int], override: str) -> None:
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
        inner[at[-1]] = _value(value, kinds_at(at))
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
        if is_text(kinds):
            return text
        raise
    quoted = isinstance(value, str) and text.strip()[:1] in ("'", '"')
    none = value is None and not text.strip().startswith("#")
    return value if quoted or none or not is_text(kinds) else text
