"""Making nodes: a piece of work for each, and what the work of one run shares: what is there, what was begun, what failed."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from msm_ray import progress, storage
from msm_ray.ahead import FOLDER
from msm_ray.errors import MsmError, OutOfMeans, no_room
from msm_ray.graph.artifacts import RECORD, Artifact, commit, is_committed
from msm_ray.graph.node import Graph, Node, with_upstream
from msm_ray.graph.planning import inputs_of
from msm_ray.graph.store import ArtifactStore, Made

Kind = TypeVar("Kind", bound=Node)
Told = Callable[[Artifact, Mapping[str, Artifact]], None]


@dataclass
class Making:
    """What the nodes of one run share.

    artifacts: what is there, by key; works: what has been begun; failures: what was begun and failed, and why; told: called with
    each artifact that is made, and with all that is there; wanted: the kinds that this run makes, None: all.
    """

    graph: Graph
    store: ArtifactStore
    told: Told = lambda made, there: None
    wanted: tuple[str, ...] | None = None
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    works: dict[str, Work[Any]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)

    def inputs_of(self, node: Node) -> dict[str, Made]:
        """What each input of a node is now; None for one that is being made by the same group."""
        return inputs_of(node, self.artifacts)

    def folder(self, node: Node, *, direct: bool = True) -> Path:
        """The folder of a node that is there, or is being made by the same group.

        direct: whether it may be one in a bucket; else, and where it holds real files by its kind, a copy on this node's disk.
        """
        if node.key not in self.artifacts:
            return self.works[node.key].out
        folder = self.artifacts[node.key].folder
        return folder if direct and node.direct else storage.here(folder)

    def waiting(self) -> dict[str, str]:
        """The nodes that cannot be made since one that they are made from has failed -> that one."""
        waiting: dict[str, str] = {}
        for node in self.graph.nodes.values():
            behind = [key for key in node.inputs if key in self.failures or key in waiting]
            if behind and node.key not in self.failures:
                waiting[node.key] = waiting.get(behind[0], behind[0])
        return waiting


@dataclass(frozen=True)
class Work(Generic[Kind]):
    """A node being made. out: the folder to fill, on this node's disk where its place in a bucket can't be (`Node.direct`).

    record: what it will be committed with.
    """

    node: Kind
    out: Path
    record: Mapping[str, Any]
    _making: Making

    def folder(self, source: Node) -> Path:
        """The folder of one of its inputs. Raises KeyError for a node that is none: nothing else is in reach."""
        return self._making.folder(self.node.inputs[source.key], direct=self.node.direct)

    def reached(self, source: Node) -> Path:
        """The folder of a node that its inputs were made from, for what was made ahead of it."""
        return self._making.folder(source)

    def ahead_of(self, source: Node) -> Path:
        """Where lies what was made ahead of the rows of a node: a shortcut, and no part of what anything is made from.

        Of the same node made of other things it lies elsewhere.
        """
        making = self._making
        there = making.artifacts.get(source.key)
        record = there.record if there else making.works[source.key].record
        made = json.dumps([record["fingerprint"], record["inputs"]], sort_keys=True)
        name = f"{source.name}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"
        return making.store.root / FOLDER / source.kind / name

    def works_ahead(self, machine: Any) -> list[Any]:
        """What can be done of its rows while they come, for whatever this run makes of them, each once."""
        making, found = self._making, dict[str, Any]()
        for node in making.graph.nodes.values():
            wanted = (making.wanted is None or node.kind in making.wanted) and node.key not in making.artifacts
            if wanted and (work := node.ahead(self.node, making.folder, machine)):
                found.setdefault(work.key, work)
        return list(found.values())

    def behind(self) -> dict[str, Artifact]:
        """All that it is made from, however far back, by key: for what tells where a result comes from."""
        reached = with_upstream(self.node.inputs.values())
        return {key: artifact for key, artifact in self._making.artifacts.items() if key in reached}

    @property
    def waits(self) -> bool:
        """Whether something that it is made from has failed, so that it can't be made now."""
        return self.node.key in self._making.waiting()

    def begins(self) -> None:
        """Tell that this one is being worked on."""
        if reporter := progress.current():
            reporter.working_on(self.node.key)

    def finish(self, counts: Mapping[str, Any]) -> None:
        """Commit it, unless its worker did; fewer rows than asked for are warned about."""
        warn_of_fewer(self.node.key, counts)
        if not is_committed(self.out):
            commit(self.out, self.record, counts)
        self.settle()

    def settle(self) -> None:
        """Take what is committed into what is there, and tell of it."""
        record = json.loads((self.out / RECORD).read_text(encoding="utf-8"))
        node, making, folder = self.node, self._making, storage.mirrored(self.out)
        made = making.artifacts[node.key] = Artifact(node.kind, node.name, record["version"], folder, record)
        making.told(made, making.artifacts)
        if reporter := progress.current():
            reporter.finished(node.key, self.out)

    def fail(self, error: Exception) -> None:
        """Note that it failed: what depends on it will wait, and all else goes on.

        Raises the error again where no other node would fare better: means that are spent, a full disk.
        """
        if isinstance(error, OutOfMeans) or no_room(error):
            raise error
        self._making.failures[self.node.key] = error
        if reporter := progress.current():
            reporter.failed(self.node.key, str(error) or type(error).__name__)
        if not isinstance(error, MsmError):
            traceback.print_exception(error)
        say(f"{self.node.key} failed: {str(error).partition(chr(10))[0]}")


def warn_of_fewer(key: str, counts: Mapping[str, Any]) -> None:
    """A stage goes on with fewer rows than its settings ask for, but never silently: the dose differs from the plan."""
    missing = counts.get("asked", 0) - counts.get("rows", 0)
    if missing > 0:
        why = "; ".join(f"{name}: {n}" for name, n in counts.items() if name.startswith("rejected: "))
        warnings.warn(
            f"{key}: {counts['rows']:,} rows of the {counts['asked']:,} asked for ({why or 'the source has no more'})",
            stacklevel=2,
        )


def say(text: str) -> None:
    """A plain progress line with the time of day."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)
