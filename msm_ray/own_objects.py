"""A user's own world or engine: an experiment file names it as Python does, `package.module:NAME`."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any


def is_own(name: str | None) -> bool:
    """Whether this names an object of the user's own, and not one of the package's."""
    return (
        bool(name) and all(part.replace(".", "").isidentifier() for part in str(name).split(":")) and ":" in str(name)
    )


def own_object(name: str) -> Any:
    """The object `package.module:NAME`. Raises ValueError where Python finds no such thing."""
    try:
        return resolve_name(name)
    except (ImportError, AttributeError) as problem:
        raise ValueError(f"{name}: {problem}; a module of your own has to lie in a folder of PYTHONPATH") from None
