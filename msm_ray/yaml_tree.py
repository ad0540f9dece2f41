"""YAML as people mean it: a tree that shares nothing, and the line of every key in it.

Scalars follow YAML 1.2's core schema: `yes`, `on` and `12:30` are text and `1e-4` is a number, where YAML 1.1 reads True,
True, 45000 and text. What an anchor is used for twice is two trees: a change of the one leaves the other as it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from msm_ray.errors import SettingsError

At = tuple[str | int, ...]
MOST_KEYS = 100_000
"""An experiment has hundreds of keys; aliases of aliases can make billions."""
MERGE = "tag:yaml.org,2002:merge"


class CoreLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """`12`, `-3`, `0o17`, `0x1f`; `010` is ten."""
        text = node.value.lower()
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """`1.5`, `1e-4`, `.inf`, `.nan`."""
        return float(re.sub(r"\.(?=inf|nan)", "", node.value.lower()))


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
CoreLoader.add_constructor("tag:yaml.org,2002:int", CoreLoader.construct_integer)
CoreLoader.add_constructor("tag:yaml.org,2002:float", CoreLoader.construct_number)


def read_value(text: str) -> Any:
    """One value as YAML. Raises yaml.YAMLError."""
    return _unshared(yaml.load(text, Loader=CoreLoader))


def read_yaml(path: str) -> tuple[Any, dict[At, int]]:
    """What a YAML file holds and the line of every key. Raises SettingsError with file and line."""
    try:
        return read_tree(Path(path).read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def read_tree(text: str, path: str) -> tuple[Any, dict[At, int]]:
    """What a YAML file holds and the line (from 1) of every key in it.

    Raises SettingsError with file and line: not YAML, a key given twice, a part that contains itself.
    """
    try:
        loader = CoreLoader(text)
        node = loader.get_single_node()
        lines: dict[At, int] = {}
        if node is None:
            return None, lines
        _collect_lines(node, (), lines, path, ())
        return _unshared(loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        raise SettingsError(f"{where}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {error}") from None


def _unshared(value: Any) -> Any:
    """The same content with nothing in two places; keys are text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _collect_lines(node: yaml.Node, at: At, lines: dict[At, int], path: str, above: tuple[int, ...]) -> None:
    if id(node) in above:
        raise SettingsError(f"{path}:{node.start_mark.line + 1}: this part contains itself (an alias of what it is in)")
    if len(lines) > MOST_KEYS:
        raise SettingsError(f"{path}: more than {MOST_KEYS:,} keys, aliases written out; no experiment has that many")
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag != MERGE:
                _collect_key(key, value, at, lines, path, above)
        for value in [value for key, value in node.value if key.tag == MERGE]:
            _collect_merged(value, at, lines, path, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            _collect_lines(item, (*at, index), lines, path, above)


def _collect_key(
    key: yaml.Node, value: yaml.Node, at: At, lines: dict[At, int], path: str, above: tuple[int, ...]
) -> None:
    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode):
        raise SettingsError(f"{path}:{line}: a key is a word, not a list or a section")
    where = (*at, key.value)
    if where in lines:
        raise SettingsError(f"{path}:{line}: '{key.value}' is given twice (first on line {lines[where]})")
    lines[where] = line
    _collect_lines(value, where, lines, path, above)


def _collect_merged(value: yaml.Node, at: At, lines: dict[At, int], path: str, above: tuple[int, ...]) -> None:
    """Keys that come by `<<`: their own lines, where the mapping itself does not say them."""
    for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
        merged: dict[At, int] = {}
        _collect_lines(part, at, merged, path, above)
        for where, line in merged.items():
            lines.setdefault(where, line)
