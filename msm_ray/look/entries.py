"""What lies below a root, artifacts and drafts, each with its state, and what was made from what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import DRAFT, Artifact, EarlierFormat, is_committed, read_artifact
from msm_ray.graph.heads import Head, counted
from msm_ray.graph.store import inspected
from msm_ray.pipeline import KINDS
from msm_ray.storage import at_once, place, sizes

State = Literal["present", "stale", "old", "draft", "damaged"]


@dataclass(frozen=True)
class Entry:
    """A folder below a root. artifact: its record and counts, no counts in a draft.

    state: `present`; `stale` (what it was made from has been made anew since); `old` (a newer version is there); `draft` (begun
    and not finished); `damaged` (not what was committed, or copied halfway). damage: name of a file -> what is wrong with it.
    """

    artifact: Artifact
    state: State
    damage: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`kind/name`."""
        return f"{self.artifact.stage}/{self.artifact.name}"

    @property
    def label(self) -> str:
        """`kind/name@version`."""
        return f"{self.key}@{self.artifact.version}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.artifact.folder

    @property
    def inputs(self) -> dict[str, str | None]:
        """Key of what it was made from -> digest; None where that was still being made."""
        return dict(self.artifact.record.get("inputs", {}))


def read_root(root: Path) -> list[Entry]:
    """Everything below a root, by kind in the order of the stages, name and version.

    Raises SettingsError where there is nothing.
    """
    root = root.expanduser().resolve()
    with at_once(root):
        entries = [_read(folder) for folder in root.glob("[!.]*/[!.]*@*") if _is_versioned(folder)]
    found = [entry for entry in entries if entry]
    if not found:
        raise SettingsError(f"{root}: no artifacts there; give the root of an experiment")
    states = [replace(entry, state=_state(entry, found)) for entry in found]
    order = {kind.kind: place for place, kind in enumerate(KINDS)}
    return sorted(states, key=lambda e: (order.get(e.artifact.stage, len(order)), e.artifact.name, e.artifact.version))


def find(said: str) -> tuple[Entry, list[Entry]]:
    """The artifact that a user names by its folder, or by that without the version (the newest then); and all of its root.

    A folder that was taken out of its root stands alone. Raises SettingsError where there is none.
    """
    path = place(said).expanduser().resolve()
    if not path.is_dir():
        path = _newest(path)
    entry = _read(path)
    if entry is None:
        raise SettingsError(
            f"{said}: no artifact there; give a folder ROOT/KIND/NAME@VERSION, as `msm ls ROOT` lists them"
        )
    lies_in_root = path.parent.name == entry.artifact.stage and _is_versioned(path)
    beside = read_root(path.parent.parent) if lies_in_root else [entry]
    return next(e for e in beside if e.folder == path), beside


def made_from(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    """What an entry was made from, one step back: by digest, or every version of it where none has that digest any more."""
    found = []
    for key, digest in entry.inputs.items():
        # The first rows of what is going further are there, although it is a draft again.
        drafts_too = digest is None or counted(digest) is not None
        versions = [e for e in entries if e.key == key and (drafts_too or e.state != "draft")]
        found += [e for e in versions if is_of(digest, e)] or versions
    return found


def needed_by(kept: Iterable[Entry], entries: Sequence[Entry]) -> set[Path]:
    """The folders of entries and of all that they were made from, however far back."""
    todo, needed = list(kept), set()
    while todo:
        entry = todo.pop()
        if entry.folder not in needed:
            needed.add(entry.folder)
            todo += made_from(entry, entries)
    return needed


def _is_versioned(folder: Path) -> bool:
    return folder.is_dir() and folder.name.rpartition("@")[2].isdigit()


def _newest(path: Path) -> Path:
    """The newest version of `.../kind/name`; a finished one, where there is one."""
    versions = [folder for folder in path.parent.glob("*@*") if _is_versioned(folder)]
    own = [folder for folder in versions if folder.name.rpartition("@")[0] == path.name]
    return max(own, key=lambda f: (is_committed(f), int(f.name.rpartition("@")[2])), default=path)


def _read(folder: Path) -> Entry | None:
    """The entry of a folder, whether there is a newer one or not; None where it holds neither an artifact nor a draft."""
    if not is_committed(folder):
        return _read_draft(folder)
    try:
        artifact = read_artifact(folder)
    except EarlierFormat:
        raise
    except SettingsError:
        return Entry(_unreadable(folder), "damaged", {"artifact.json": "cannot be read"})
    found = inspected(artifact)
    if found.state == "damaged":
        return Entry(artifact, "damaged", dict(found.damage))
    return Entry(found.artifact or artifact, "present")


def _read_draft(folder: Path) -> Entry | None:
    try:
        record: dict[str, Any] = json.loads((folder / DRAFT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        torn = folder.is_dir() and _is_versioned(folder) and bool(sizes(folder))
        return Entry(_unreadable(folder), "damaged", {folder.name: "was copied halfway"}) if torn else None
    return Entry(Artifact(record["stage"], record["name"], record["version"], folder, record | {"counts": {}}), "draft")


def _unreadable(folder: Path) -> Artifact:
    name, _, version = folder.name.rpartition("@")
    return Artifact(folder.parent.name, name, int(version or 0), folder, {"counts": {}})


def _state(entry: Entry, entries: Sequence[Entry]) -> State:
    if entry.state != "present":
        return entry.state
    whole = [e for e in entries if e.key == entry.key and e.state not in ("draft", "damaged")]
    if any(e.artifact.version > entry.artifact.version for e in whole):
        return "old"
    for key, digest in entry.inputs.items():
        now = [e for e in entries if e.key == key and e.state not in ("draft", "damaged")]
        if now and not any(is_of(digest, e) for e in now):
            return "stale"
    return "present"


def is_of(recorded: str | None, entry: Entry) -> bool:
    """Whether an artifact, or its first rows where a reader took so many, is what something was made from."""
    count = counted(recorded)
    return recorded == _digest(entry) if count is None else Head(entry.folder, count).is_still(recorded)


def _digest(entry: Entry) -> str | None:
    return entry.artifact.record.get("digest")
