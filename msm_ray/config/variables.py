"""`$SCRATCH`, `${USER}` and `~` in an experiment's settings, so that none of them ever becomes the name of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEXTS = frozenset({"report", "assistant", "forbidden", "aligned_words", "topics", "liked", "disliked"})
"""Settings that people read: a `$` in them is a dollar. In all others, those still to be added too, it is a variable."""
VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<bare>[A-Za-z_]\w*)|(?P<command>\())")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)
"""What such a variable holds must not get into records, plans and logs."""
HOME = re.compile(r"^~[\w.-]*(/|$)")

At = tuple[str | int, ...]


def expand(tree: Any, environment: Mapping[str, str] = os.environ) -> tuple[Any, list[tuple[At, str]]]:
    """The tree with variables and `~` expanded, and what could not be: (path of the setting, what is wrong)."""
    problems: list[tuple[At, str]] = []

    def inside(value: Any, at: At) -> Any:
        if isinstance(value, dict):
            return {key: inner if key in TEXTS else inside(inner, (*at, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [inside(inner, (*at, index)) for index, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        text, wrong = _expanded(value, environment)
        problems.extend((at, problem) for problem in wrong)
        return text

    return inside(tree, ()), problems


def _expanded(text: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    wrong = []

    def value(found: re.Match[str]) -> str:
        name = found["braced"] if found["braced"] is not None else found["bare"] or ""
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            wrong.append(f"'{found[0]}' is no variable's name; write what it stands for")
        elif SECRET.search(name):
            wrong.append(f"${name} looks like a secret, and settings are written into records; give another variable")
        elif not environment.get(name):
            wrong.append(f"${name} is not set in the environment; set it, or write what it stands for")
        return environment.get(name, "")

    text = VARIABLE.sub(value, text)
    if HOME.match(text):
        try:
            text = str(Path(text).expanduser())
        except RuntimeError:
            wrong.append(f"'{text}': no home folder is known for that; write the folder out")
    return text, wrong
