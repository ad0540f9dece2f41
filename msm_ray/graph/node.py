"""A node of the graph: what one artifact is made of. Fields that hold nodes are its inputs; every other field is a setting.

Settings, inputs and the kind's version are its identity, all of them: whoever adds a field need not remember anything. A field
marked `extent()` is the exception that the contract knows: how far a stage that grows row by row is to go (`heads.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pydantic import BaseModel

if TYPE_CHECKING:
    from msm_ray.graph.making import Work

Counts = Mapping[str, Any]
CONTENT_VERSION = "content_version"
OWN = "how"
"""The field whose settings stand in the record under the names that the user gives them; others stand under the field's."""
EXTENT = "extent"


def extent(**options: Any) -> Any:
    """A field that says how far a growing stage is to go: no identity of its own; a reader that takes so many has it as one."""
    return field(metadata={EXTENT: True}, **options)


class Identified(Protocol):
    """What a field can hold beside plain values and settings: something that tells what it is."""

    def identity(self) -> Any:
        """Plain values that are equal where the thing is."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node, and one artifact when it is done. name: where it lies, with its kind; no part of what it is.

    kind: the folder that its artifacts lie in. version: of the code that decides its content: raise it with every change after
    which the same settings and inputs make something else, so that old and new rows never stand in one table unseen. group:
    kinds of one group are made together. derived: made from everything in seconds, so that a stale one is simply missing its
    next version; follows_inputs: the same where nothing but its inputs changed. editable: files that people may edit: an
    artifact with an edited one is used as it is now, and its digest is another. direct: under a root in a bucket it reads and
    writes there by `rows/` and `whole_files`, so that what is written outlives this node; any other is made in real files on this
    node's disk, from copies of what it is made from, and put there when it is whole.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    group: ClassVar[str] = ""
    derived: ClassVar[bool] = False
    follows_inputs: ClassVar[bool] = False
    editable: ClassVar[frozenset[str]] = frozenset()
    direct: ClassVar[bool] = False

    name: str

    @property
    def key(self) -> str:
        """`kind/name`, unique in the graph."""
        return f"{self.kind}/{self.name}"

    @property
    def roles(self) -> dict[str, Node]:
        """Inputs by the role that they play; of a field with several, by the field and their names."""
        found: dict[str, Node] = {}
        for one in fields(self):
            value = vars(self)[one.name]
            if isinstance(value, Node):
                found[one.name] = value
            elif isinstance(value, tuple):
                found |= {f"{one.name}/{node.name}": node for node in value if isinstance(node, Node)}
        return found

    @property
    def inputs(self) -> dict[str, Node]:
        """Inputs by their keys, each once."""
        return {node.key: node for node in self.roles.values()}

    def taken(self, source: Node) -> int | None:
        """How many rows it takes of an input that grows; None: it reads all of it."""
        return None

    def ahead(self, source: Node, folder: Callable[[Node], Path], machine: Any) -> Any:
        """What can be done for it of files of an input's rows while that is still being made (`FileWork`); None: nothing.

        source: may lie further back; folder: of any node that is there.
        """
        return None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides its content beside its inputs, ready to be written down, with the version of the code."""
        said: dict[str, Any] = {CONTENT_VERSION: self.version}
        for one in fields(self):
            value = vars(self)[one.name]
            if one.name == "name" or EXTENT in one.metadata or _holds_nodes(value):
                continue
            plain = plainly(value)
            said |= plain if one.name == OWN and isinstance(plain, dict) else {one.name: plain}
        return json.loads(json.dumps(said))

    @property
    def extent(self) -> int | list[int | None] | None:
        """How far it is to go, where it is of a kind that grows: a number, or several bounds of which each may be None (none)."""
        bounds = [vars(self)[one.name] for one in fields(self) if EXTENT in one.metadata]
        return bounds if len(bounds) > 1 else bounds[0] if bounds else None

    @property
    def rows(self) -> int | None:
        """Rows that it is expected to give; None where only the run can tell. So for tokens and steps."""
        return None

    @property
    def tokens(self) -> int | None:
        """Tokens that it is expected to give, or to train on."""
        return None

    @property
    def steps(self) -> int | None:
        """Optimizer steps that it is expected to take."""
        return None

    def make(self, work: Work[Self], machine: Any) -> Counts:
        """Fill `work.out`; returns counts. Inputs are read in `work.folder(self.role)`, and nothing else is in reach."""
        raise NotImplementedError

    @classmethod
    def make_all(cls, works: Sequence[Work[Self]], machine: Any) -> None:
        """Make several: each is committed, or its failure noted. What is raised ended all that are neither."""
        for work in works:
            if work.waits:
                continue
            work.begins()
            try:
                work.finish(work.node.make(work, machine))
            except Exception as error:
                work.fail(error)


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, Node) or (isinstance(value, tuple) and any(isinstance(each, Node) for each in value))


def plainly(value: Any) -> Any:
    """A setting as plain values. Raises TypeError for one that doesn't say what it is."""
    if hasattr(value, "identity"):
        return plainly(value.identity())
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plainly(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plainly(each) for each in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} is no setting that can be written down")


@dataclass(frozen=True)
class Graph:
    """Nodes in an order that can run. kinds: the kinds there are, in the order in which they run."""

    nodes: Mapping[str, Node]
    kinds: tuple[type[Node], ...]

    def of_kind(self, kind: str) -> list[Node]:
        """The nodes of one kind, in order."""
        return [node for node in self.nodes.values() if node.kind == kind]

    @property
    def kind_names(self) -> tuple[str, ...]:
        """The kinds' names in the order in which they run."""
        return tuple(kind.kind for kind in self.kinds)

    def groups(self) -> list[tuple[type[Node], ...]]:
        """Kinds that are made together, in the order in which they run."""
        found: list[tuple[type[Node], ...]] = []
        for kind in self.kinds:
            if found and kind.group and found[-1][0].group == kind.group:
                found[-1] += (kind,)
            else:
                found.append((kind,))
        return found


def graph_of(nodes: Sequence[Node], kinds: tuple[type[Node], ...]) -> Graph:
    """The graph of some nodes and all that they are made from, ordered by kind, and within one as they are reached.

    Raises ValueError where two different nodes have one key.
    """
    found = with_upstream(nodes)
    return Graph({n.key: n for kind in kinds for n in found.values() if type(n) is kind}, kinds)


def with_upstream(nodes: Iterable[Node]) -> dict[str, Node]:
    """Some nodes and all that they are made from, however far back: by key, each once, behind its own inputs.

    Raises ValueError where two different nodes have one key.
    """
    found: dict[str, Node] = {}

    def reach(node: Node) -> None:
        if (known := found.get(node.key)) is None:
            for each in node.inputs.values():
                reach(each)
            found[node.key] = node
        elif known is not node and known != node:
            raise ValueError(node.key)

    for node in nodes:
        reach(node)
    return found
