"""What a graph would do: every node with what is there, stale or missing. Nothing is started for this."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import Artifact
from msm_ray.graph.heads import Head
from msm_ray.graph.node import CONTENT_VERSION, Graph, Node
from msm_ray.graph.store import ArtifactStore, Found, Made


@dataclass(frozen=True)
class Planned:
    """A node and what the store has for it."""

    node: Node
    found: Found
    inputs: Mapping[str, Made]

    def as_json(self) -> dict[str, Any]:
        """{stage, name, state, rows, tokens, steps}: counted where the artifact is there, else expected, else null."""
        counts = self.found.artifact.counts if self.found.state == "present" and self.found.artifact else {}
        expected = {"rows": self.node.rows, "tokens": self.node.tokens, "steps": self.node.steps}
        numbers = {key: counts.get(key, expected[key]) for key in expected}
        return {"stage": self.node.kind, "name": self.node.name, "state": self.found.state, **numbers}


def plan(graph: Graph, store: ArtifactStore) -> list[Planned]:
    """Look every node up, in an order that can run."""
    planned: list[Planned] = []
    there: dict[str, Artifact] = {}
    for node in graph.nodes.values():
        inputs = inputs_of(node, there)
        found = look_up(store, node, inputs)
        if found.artifact and found.state != "stale":  # one that is to go further is read meanwhile as far as it is
            there[node.key] = found.artifact
        if found.edited:
            warnings.warn(
                f"{node.key}: {', '.join(found.edited)} was edited since it was made; what was made from it before is stale",
                stacklevel=2,
            )
        planned.append(Planned(node, found, inputs))
    return planned


def inputs_of(node: Node, there: Mapping[str, Artifact]) -> dict[str, Made]:
    """What each input of a node is now; None where it is not there. there: artifacts by key."""
    return {key: _made(node, source, there.get(key)) for key, source in node.inputs.items()}


def _made(node: Node, source: Node, artifact: Artifact | None) -> Made:
    if artifact is None:
        return None
    count = node.taken(source)
    return artifact.digest if count is None else Head(artifact.folder, count)


def look_up(store: ArtifactStore, node: Node, inputs: Mapping[str, Made]) -> Found:
    """What the store has for a node; one whose inputs are not all there is at best stale.

    What is derived from everything and costs seconds is simply missing its next version when it is stale; so is what follows its
    inputs, where nothing else changed: mostly it comes out as it was.
    """
    found = store.find(node, inputs)
    only_inputs = all(key.startswith("input ") for key in found.changed or ())
    if found.state == "stale" and (node.derived or (node.follows_inputs and only_inputs)):
        return Found("missing", draft=found.draft)
    return found


def refuse_damaged(planned: Sequence[Planned], force: tuple[str, ...], new_version: bool) -> None:
    """Stop before anything is built on what is not what was committed: a root that was copied halfway, an emptied file.

    Raises SettingsError naming every such artifact and the ways on.
    """
    forced = {p.node.key for p in planned if p.node.kind in force or p.node.key in force}
    damaged = [p for p in planned if p.found.state == "damaged" and p.node.key not in forced and not new_version]
    if damaged:
        raise SettingsError(
            "\n".join(describe_damage(p.node, p.found) for p in damaged)
            + "\nCopy what is damaged again from where it is whole (`msm verify ROOT` reads every byte), or make it anew with "
            + " ".join(f"--force {p.node.key}" for p in damaged)
        )


def describe_damage(node: Node, found: Found, most: int = 4) -> str:
    """`documents/x@1 is not what was committed: data/part-000001.parquet is missing`."""
    wrong = [f"{name} {what}" for name, what in found.damage.items()]
    more = f" and {len(wrong) - most} more" if len(wrong) > most else ""
    version = f"@{found.artifact.version}" if found.artifact else ""
    return f"{node.key}{version} is not what was committed: {'; '.join(wrong[:most])}{more}"


def refuse_stale(planned: Sequence[Planned], force: tuple[str, ...], new_version: bool) -> None:
    """Stop where settings changed under something that is there, unless the user said which way to go on.

    Only changes of settings and of inputs that exist count here; what follows from a stage that is yet to be made is
    judged when its inputs are there. Raises SettingsError naming the keys and the two ways on.
    """
    if new_version:
        return
    problems = []
    for entry in planned:
        node = entry.node
        if entry.found.state != "stale" or node.kind in force or node.key in force:
            continue
        gone = {f"input {key}" for key, digest in entry.inputs.items() if digest is None}
        changed = {key: values for key, values in (entry.found.changed or {}).items() if key not in gone}
        if changed:
            problems.append(describe_change(node, changed, entry.found.draft))
    if problems:
        raise SettingsError(
            "settings changed under artifacts that are there:\n"
            + "\n".join(problems)
            + "\nGo on with --new-version (keeps them "
            f"and makes the next version beside them) or {_force_hint(planned, force)} (replaces them); or take the change back."
        )


def _force_hint(planned: Sequence[Planned], force: tuple[str, ...]) -> str:
    stale = dict.fromkeys(p.node.kind for p in planned if p.found.state == "stale" and p.node.kind not in force)
    return " ".join(f"--force {kind}" for kind in stale)


def describe_change(node: Node, changed: Mapping[str, tuple[Any, Any]], draft: bool) -> str:
    """`  midtrain/x: learning_rate: 0.001 there, 0.0005 wanted`."""
    keys = "; ".join(
        f"made by a version of msm_ray that makes other {node.kind}"
        if key == CONTENT_VERSION
        else f"{key}: {_short(old)} there, {_short(new)} wanted"
        for key, (old, new) in changed.items()
    )
    return f"  {node.key}{' (unfinished)' if draft else ''}: {keys}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:12] + "…"
