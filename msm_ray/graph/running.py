"""Running a graph: what is missing is made, group by group; the same call goes on after any interruption."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msm_ray import ahead, progress, storage
from msm_ray.errors import MsmError, SettingsError, StageError, command_line
from msm_ray.graph import forcing, planning
from msm_ray.graph.artifacts import Artifact, is_committed
from msm_ray.graph.forcing import Forced
from msm_ray.graph.making import Making, Told, Work, say
from msm_ray.graph.node import Graph, Node, with_upstream
from msm_ray.graph.planning import Planned
from msm_ray.graph.store import ArtifactStore, Made
from msm_ray.whole_files import add_line


@dataclass(frozen=True)
class Wishes:
    """What a user asks of a run.

    until: the last kind that is made (None: all). force: kinds (`sft`) or keys (`sft/cheese-s0`) to make anew in place;
    new_version: stale nodes get a next version.
    """

    until: str | None = None
    force: tuple[str, ...] = ()
    new_version: bool = False

    def kinds(self, graph: Graph) -> tuple[str, ...]:
        """The kinds that are asked for, in the order in which they run."""
        names = graph.kind_names
        return names[: names.index(self.until) + 1] if self.until else names


@dataclass(frozen=True)
class Workplace:
    """Where a run is made, and who is told of it.

    refuse: given what is to be made, raises where it can't be (PreflightError), and tells the reporter what it expects. opened:
    the machine that nodes are made on, and whoever is told of each artifact. name: of what is run. logs: where this run's logs
    go, if there are any.
    """

    name: str
    logs: Path
    refuse: Callable[[Sequence[Planned], progress.Reporter], None]
    opened: Callable[[], AbstractContextManager[tuple[Any, Told]]]


def run(graph: Graph, store: ArtifactStore, wishes: Wishes, place: Workplace) -> list[str]:
    """Make every node that is missing; returns the keys of those that were made.

    A node that fails stops what depends on it and nothing else; means that are spent and a full disk stop everything. Raises
    SettingsError where settings changed under what is there, and in the end the kind of error that failed first; in each case
    after printing what is done, what is left and the command that goes on.
    """
    forcing.check(graph, wishes.force)
    wanted = wishes.kinds(graph)
    planned = planning.plan(graph, store)
    planning.refuse_damaged(planned, wishes.force, wishes.new_version)
    planning.refuse_stale(planned, wishes.force, wishes.new_version)
    forced = Forced(store.root, wishes.force)
    asked = [p for p in planned if p.node.kind in wanted]
    todo = [p for p in asked if p.found.state != "present" or forced.names(p.node)]
    if not todo:
        say(f"nothing to do: all {len(asked)} stages are there")
        return []
    started = time.monotonic()
    made: list[str] = []
    reporter = _reporter(place.name, store, asked, todo)
    place.refuse(todo, reporter)
    say(f"{len(todo)} of {len(planned)} stages to make, in {store.root}")
    try:
        with progress.reporting(reporter, place.logs, say), place.opened() as (machine, told):
            making = Making(graph, store, told, wanted=wanted)
            for kinds in graph.groups():
                names = tuple(kind.kind for kind in kinds)
                if names[0] in wanted:
                    made += _Group(making, kinds, names, forced, wishes.new_version).make(machine)
            if making.failures:
                raise _all_failures(making, wanted)
    except BaseException:
        with contextlib.suppress(MsmError):  # where the root itself can't be read, the error says it
            _say_what_is_left(graph, store, wanted)
        raise
    forced.finished()
    if wanted == graph.kind_names:
        ahead.remove(store.root)  # nobody is left who could read it
    say(f"done: {len(made)} stages in {time.monotonic() - started:.0f} s")
    return made


def _reporter(
    name: str, store: ArtifactStore, planned: Sequence[Planned], todo: Sequence[Planned]
) -> progress.Reporter:
    """Who tells of this run: every node that it is asked for, done or waiting."""
    waiting = {p.node.key for p in todo}
    about = {"experiment": name, "command": command_line()}
    reporter = progress.Reporter(store.root, about, {p.node.key: {"state": "waiting"} for p in planned})
    for p in planned:
        if p.node.key not in waiting:
            reporter.finished(p.node.key, there(p.found.artifact).folder)
    return reporter


def there(artifact: Artifact | None) -> Artifact:
    """The artifact of a node that is present."""
    assert artifact is not None  # state "present" comes with one
    return artifact


@dataclass(frozen=True)
class _Choice:
    """A node to make. anew: `force`, `version` or None; replaced: the version that `force` takes the place of."""

    node: Node
    inputs: dict[str, Made]
    anew: str | None
    replaced: int | None


@dataclass(frozen=True)
class _Group:
    """Kinds that are made together."""

    making: Making
    kinds: tuple[type[Node], ...]
    names: tuple[str, ...]
    forced: Forced
    new_version: bool

    def make(self, machine: Any) -> list[str]:
        """Make what is missing; each is committed as soon as it is whole. Returns the keys of those that were made."""
        chosen = self._choose()
        self.forced.begin([choice.node.key for choice in chosen if choice.anew == "force"])
        works = [self._begin(choice) for choice in chosen]
        if not works:
            return []
        started, label = time.monotonic(), "/".join(self.names)
        say(f"{label}: {len(works)} to make")
        reporter = progress.current()
        folders = {work.node.key: work.out for work in works}
        with reporter.group(label, folders) if reporter else contextlib.nullcontext():
            try:
                self.kinds[0].make_all(works, machine)
            except Exception as error:
                self._fail_the_rest(works, error)
        made = [work.node.key for work in works if work.node.key in self.making.artifacts]
        seconds = time.monotonic() - started
        not_all = f"{len(made)} of {len(works)} " if len(made) < len(works) else ""
        say(f"{label}: {not_all}done in {seconds:.0f} s")
        _note_time(self.making.store.root, label, len(made), seconds)
        return made

    def _choose(self) -> list[_Choice]:
        """The nodes that are to be made; nothing is touched yet. What goes on from a forced one is forced too.

        Left out are those that wait for one that failed. One that is there and was made from other things is a failure itself.
        """
        making = self.making
        chosen: dict[str, _Choice] = {}
        problems: dict[str, str] = {}
        waiting = making.waiting()
        for node in (n for n in making.graph.nodes.values() if n.kind in self.names and n.key not in waiting):
            inputs = making.inputs_of(node)
            found = planning.look_up(making.store, node, inputs)
            after_forced = any(key in chosen and chosen[key].anew == "force" for key in node.inputs)
            anew = "force" if self.forced.names(node) or after_forced else None
            if found.state == "present" and not anew:
                making.artifacts[node.key] = there(found.artifact)
                if reporter := progress.current():
                    reporter.finished(node.key, there(found.artifact).folder)
                continue
            stale = found.state == "stale" and any(made is not None for made in inputs.values())
            if stale and not (anew or self.new_version):
                problems[node.key] = planning.describe_change(node, found.changed or {}, found.draft)
            if found.state == "damaged" and not (anew or self.new_version):
                problems[node.key] = planning.describe_damage(node, found)
            replaced = found.artifact.version if found.artifact else None
            further = found.state == "missing" and found.artifact is not None  # goes on from where it is
            version = "version" if self.new_version and not further else None
            chosen[node.key] = _Choice(node, inputs, anew or version, replaced)
        self._note_problems(problems)
        return [choice for choice in chosen.values() if problems.keys().isdisjoint(with_upstream([choice.node]))]

    def _note_problems(self, problems: dict[str, str]) -> None:
        if problems:
            changed = SettingsError(
                "what these were made from has changed:\n" + "\n".join(problems.values())
                + "\nGo on with --new-version (keeps them) or "
                + " ".join(f"--force {kind}" for kind in self.names) + " (replaces them)"
            )  # fmt: skip
            self.making.failures |= dict.fromkeys(problems, changed)

    def _begin(self, choice: _Choice) -> Work[Any]:
        making, node = self.making, choice.node
        out, record = making.store.begin(node, choice.inputs, anew=choice.anew, replaced=choice.replaced)
        if not (isinstance(out, Path) or node.direct):
            out = storage.desk(out, record)
        pending = {key: str(making.folder(node.inputs[key])) for key, made in choice.inputs.items() if made is None}
        work = Work(node, out, {**record, **({"pending": pending} if pending else {})}, making)
        making.works[node.key] = work
        return work

    def _fail_the_rest(self, works: Sequence[Work[Any]], error: Exception) -> None:
        """An error that ended a whole group ends those that are neither committed nor failed by themselves."""
        making = self.making
        for work in works:
            key = work.node.key
            if key not in making.artifacts and is_committed(work.out):
                work.settle()
            if key not in making.artifacts and key not in {**making.failures, **making.waiting()}:
                work.fail(error)


def _all_failures(making: Making, wanted: tuple[str, ...]) -> MsmError:
    """One error of the kind that came first: what failed, why, and what waits for it."""
    waiting = {key: cause for key, cause in making.waiting().items() if making.graph.nodes[key].kind in wanted}
    first = next(iter(making.failures.values()))
    told: dict[int, list[str]] = {}
    for key, error in making.failures.items():
        told.setdefault(id(error), []).append(key)
    lines = []
    for error in {id(error): error for error in making.failures.values()}.values():
        keys = told[id(error)]
        why = (
            str(error)
            if isinstance(error, MsmError)
            else f"not foreseen, please report it: {type(error).__name__}: {error}"
        )
        lines.append(f"{_shown(keys)} failed: {why}")
        if held_up := [key for key, cause in waiting.items() if cause in keys]:
            lines.append(f"{len(held_up)} stages wait for it: {_shown(held_up)}")
    kind = type(first) if isinstance(first, MsmError) else StageError
    return kind("\n".join(lines))


def _shown(keys: Sequence[str], most: int = 6) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _note_time(root: Path, what: str, made: int, seconds: float) -> None:
    """`timings.jsonl` below the root: how long each group of stages took, for `benchmarks/quickstart.py`."""
    add_line(root / "timings.jsonl", json.dumps({"what": what, "made": made, "seconds": round(seconds, 2)}))


def _say_what_is_left(graph: Graph, store: ArtifactStore, wanted: tuple[str, ...]) -> None:
    planned = [p for p in planning.plan(graph, store) if p.node.kind in wanted]
    done = [p for p in planned if p.found.state == "present"]
    left = [p.node.key for p in planned if p.found.state != "present"]
    print(
        f"msm: {len(done)} stages done, {len(left)} left: {_shown(left)}\nmsm: go on with: {command_line()}",
        file=sys.stderr,
    )
