"""What `--force` names, less what an interrupted run with the same words has begun anew already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from msm_ray.errors import SettingsError
from msm_ray.graph.node import Graph, Node
from msm_ray.whole_files import write_whole


class Forced:
    """Kinds and keys that are to be wiped and made anew.

    What an interrupted run of the same words has begun is noted below the root: without that, "the same command goes on" would
    wipe what it had made.
    """

    def __init__(self, root: Path, force: Sequence[str]):
        self._note, self._force = root / "unfinished-force.json", sorted(force)
        self._begun: list[str] = []
        if force and self._note.exists():
            noted = json.loads(self._note.read_text(encoding="utf-8"))
            self._begun = noted["begun"] if noted["force"] == self._force else []

    def names(self, node: Node) -> bool:
        """Whether a node is still to be wiped and made anew."""
        return (node.kind in self._force or node.key in self._force) and node.key not in self._begun

    def begin(self, keys: list[str]) -> None:
        """These are about to be wiped."""
        self._begun += keys
        if keys:
            write_whole(self._note, json.dumps({"force": self._force, "begun": self._begun}))

    def finished(self) -> None:
        """Everything is there: the next `--force` starts anew."""
        self._note.unlink(missing_ok=True)


def check(graph: Graph, force: Sequence[str]) -> None:
    """Raise SettingsError for a name that is neither a kind nor a node."""
    for name in force:
        if name not in graph.kind_names and name not in graph.nodes:
            raise SettingsError(
                f"--force {name}: no such stage; give a kind ({', '.join(graph.kind_names)}) or kind/name"
            )
