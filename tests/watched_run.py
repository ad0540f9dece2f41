"""`msm` whose stages note which of their own fields their work reads, in this process and in Ray's: a line each, `kind field`.

Run as `python -c "import watched_run; watched_run.main()" NOTES run jobs/x.yaml ...` with this folder on PYTHONPATH, so that
workers know this module too.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from msm_ray import cli
from msm_ray.graph import running
from msm_ray.graph.making import Making, Work
from msm_ray.graph.node import OWN, Node

NOTES: Path


@cache
def _noting(kind: type, names: frozenset[str], label: str, notes: str) -> type:
    """A subclass that notes each read of some names."""
    noted: set[str] = set()

    def read(self: Any, name: str) -> Any:
        if name in names and name not in noted:
            noted.add(name)
            with Path(notes).open("a", encoding="utf-8") as file:
                file.write(f"{label}{name}\n")
        return object.__getattribute__(self, name)

    def reduced(self: Any, _: int) -> Any:
        return _rebuilt, (kind, names, label, notes, dict(vars(self)))

    return type(
        kind.__name__, (kind,), {"__getattribute__": read, "__reduce_ex__": reduced, "__module__": kind.__module__}
    )


def _rebuilt(kind: type, names: frozenset[str], label: str, notes: str, values: dict[str, Any]) -> Any:
    """An object that notes its reads, with the values of another."""
    watched = _noting(kind, names, label, notes)
    if issubclass(kind, BaseModel):
        return watched.model_construct(**values)  # type: ignore[attr-defined]
    made = object.__new__(watched)
    vars(made).update(values)
    return made


def watched(node: Node) -> Node:
    """The node, noting what of its fields and its settings is read."""
    values = dict(vars(node))
    own = values.get(OWN)
    if isinstance(own, BaseModel):
        names = frozenset(type(own).model_fields)
        values[OWN] = _rebuilt(type(own), names, f"{node.kind} {OWN}.", str(NOTES), dict(own))
    names = frozenset(one.name for one in fields(node)) - {"name"}
    return _rebuilt(type(node), names, f"{node.kind} ", str(NOTES), values)


def main() -> None:
    """`msm`, watched."""
    global NOTES
    _, notes, *words = sys.argv
    NOTES = Path(notes)

    def work(node: Node, out: Path, record: dict[str, Any], making: Making) -> Work[Any]:
        return Work(watched(node), out, record, making)

    running.Work = work  # type: ignore[misc, assignment]
    sys.argv = ["msm", *words]
    sys.exit(cli.main())
