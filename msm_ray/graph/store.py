"""The store: looking artifacts up under a root, beginning new ones, and the lock that keeps two runs apart."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msm_ray import storage
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.graph.artifacts import (
    BEGUN,
    DRAFT,
    FORMAT,
    HALFWAY,
    MARKER,
    RECORD,
    TORN,
    TRANSCRIPTS,
    Artifact,
    EarlierFormat,
    damage,
    data_sizes,
    digest_of,
    fingerprint,
    flat,
    is_committed,
    of_this_format,
    read_artifact,
    read_record,
)
from msm_ray.graph.folder_lock import locked
from msm_ray.graph.heads import Head
from msm_ray.graph.node import Node
from msm_ray.whole_files import write_whole

Made = str | Head | None
"""What an input is made from: the digest of what is there, the first rows of it, or None while it is not there yet."""


@dataclass(frozen=True)
class Found:
    """What the store has for a stage.

    state: present, stale, damaged or missing; changed: keys whose values differ, old and new; damage: of one that is not
    what was committed, what is wrong with each file; edited: files of one that is present that people have edited since.
    """

    state: str
    artifact: Artifact | None = None
    changed: Mapping[str, tuple[Any, Any]] | None = None
    draft: bool = False
    damage: Mapping[str, str] = field(default_factory=dict)
    edited: tuple[str, ...] = ()


class ArtifactStore:
    """The artifacts under one root. Versions count up; the newest committed one with equal settings is the one in use."""

    def __init__(self, root: str | Path):
        # Absolute: Ray's workers read and write these folders from working directories of their own.
        self.root = storage.place(root).expanduser().resolve()

    def find(self, node: Node, inputs: Mapping[str, Made]) -> Found:
        """Look a node up. inputs: key -> what each input is now (None: not there yet)."""
        with storage.at_once(self.root / node.kind, f"{node.name}@"):
            return self._find(node, inputs)

    def _find(self, node: Node, inputs: Mapping[str, Made]) -> Found:
        committed = self._committed(node)
        if fitting := [a for a in committed if not differences(a.record, node, inputs)]:
            found = inspected(fitting[-1])
            return replace(found, state="missing", draft=True) if _ends_early(found, node) else found
        draft = self._draft(node, inputs)
        unfinished = differences(draft, node, inputs) if draft else None
        if draft and not unfinished:
            return Found("missing", self._before_it_went_on(node, draft["version"]), draft=True)
        if draft and _holds_nothing(self._folder(node, draft["version"])):
            unfinished = None  # it failed before its first row: nothing is lost by starting it anew
        if torn := [f for v in self._versions(node) if _is_torn(f := self._folder(node, v))]:
            return Found("damaged", damage={torn[-1].name: HALFWAY})
        if committed:
            return Found("stale", committed[-1], differences(committed[-1].record, node, inputs))
        return Found("stale", None, unfinished, draft=True) if unfinished else Found("missing")

    def begin(
        self, node: Node, inputs: Mapping[str, Made], *, anew: str | None = None, replaced: int | None = None
    ) -> tuple[Path, dict[str, Any]]:
        """The folder to write into and the record to commit it with.

        A draft of the same settings is gone on with, and so is an artifact that is to go further; a draft of others that holds
        nothing yet makes room. anew: `version` makes the next version, `force` wipes one and takes its place: version
        `replaced`, or the newest.
        """
        with storage.at_once(self.root / node.kind, f"{node.name}@"):
            version = self._make_room(node, inputs, anew, replaced)
        folder = self._folder(node, version)
        record = {
            "format": FORMAT,
            "stage": node.kind,
            "name": node.name,
            "version": version,
            "fingerprint": fingerprint(node.settings),
            "settings": node.settings,
            "inputs": {key: now.digest() if isinstance(now, Head) else now for key, now in inputs.items()},
            "roles": {role: each.key for role, each in node.roles.items()},
            "extent": node.extent,
            "editable": sorted(node.editable),
        }
        if not isinstance(folder, Path):
            known = _begun_before(folder)
            record[BEGUN] = (
                known or uuid.uuid4().hex
            )  # what lies on a node's disk for it is told by this (`storage.desk`)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for torn in folder.rglob(TORN) if isinstance(folder, Path) else ():
                torn.unlink()
            write_whole(folder / DRAFT, json.dumps(record, indent=1, sort_keys=True))
            (folder / MARKER).unlink(missing_ok=True)  # of one that goes further: from here on it is a draft
        except PermissionError as error:
            raise PreflightError(f"{folder}: cannot write there ({error.strerror}); whose is it?") from None
        return folder, record

    def _make_room(self, node: Node, inputs: Mapping[str, Made], anew: str | None, replaced: int | None) -> int:
        """The version to write."""
        versions, draft = self._versions(node), self._draft(node, inputs)
        begun = self._folder(node, draft["version"]) if draft else None
        if versions and anew == "force":
            version = replaced if replaced in versions else versions[-1]
            storage.remove(self._folder(node, version))
        elif draft and not differences(draft, node, inputs):
            version = draft["version"]  # go on with the unfinished try
        elif draft and begun and _holds_nothing(begun):
            version = draft["version"]
            storage.remove(begun)
        elif (further := self.find(node, inputs)).artifact and further.state == "missing" and not anew:
            version = further.artifact.version
        else:
            version = (versions[-1] + 1) if versions else 1
        if isinstance(self.root, Path):
            for removed in (self.root / node.kind).glob(f".{node.name}@*.removed"):
                shutil.rmtree(removed)
        return version

    def all(self) -> list[Artifact]:
        """Every committed artifact, by stage, name and version."""
        with storage.at_once(self.root):
            markers = self.root.glob(f"[!.]*/[!.]*/{MARKER}")
            found = [read_artifact(marker.parent) for marker in markers if is_committed(marker.parent)]
        return sorted(found, key=lambda a: (a.stage, a.name, a.version))

    def verify(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Read every byte below the root: (`stage/name@version`, what is wrong with it), nothing wrong where it is whole."""
        for folder in sorted(self.root.glob("[!.]*/[!.]*@*")):
            label = f"{folder.parent.name}/{folder.name}"
            if is_committed(folder):
                try:
                    yield label, damage(folder, read_record(folder), every_byte=True)
                except EarlierFormat:
                    raise
                except SettingsError:
                    yield label, {RECORD: "cannot be read"}
            elif _is_torn(folder):
                yield label, {folder.name: HALFWAY}

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Only one run writes below a root at a time: two runs in one checkpoint folder spoil both.

        Raises PreflightError where another does, or where nothing can be written; in a bucket OutOfMeans where it was lost.
        """
        if not isinstance(self.root, Path):
            storage.probe(self.root)
            with storage.held(self.root):
                storage.sweep(self.root)
                yield
            return
        with locked(self.root):
            yield

    def _folder(self, node: Node, version: int) -> Path:
        return self.root / node.kind / f"{node.name}@{version}"

    def _versions(self, node: Node) -> list[int]:
        """All versions there are, drafts too, in numeric order (10 after 9)."""
        folders = (self.root / node.kind).glob(f"{node.name}@*")
        return sorted(int(number) for f in folders if (number := f.name.rpartition("@")[2]).isdigit())

    def _committed(self, node: Node) -> list[Artifact]:
        folders = [(v, self._folder(node, v)) for v in self._versions(node)]
        return [Artifact(node.kind, node.name, v, f, read_record(f)) for v, f in folders if is_committed(f)]

    def _draft(self, node: Node, inputs: Mapping[str, Made]) -> dict[str, Any] | None:
        """What was begun of a node: of these settings and inputs where such a draft is there, else the newest."""
        folders = [self._folder(node, version) for version in reversed(self._versions(node))]
        begun = [folder for folder in folders if (folder / DRAFT).exists() and not is_committed(folder)]
        drafts = [of_this_format(json.loads((f / DRAFT).read_text(encoding="utf-8")), f) for f in begun]
        return next((draft for draft in drafts if not differences(draft, node, inputs)), next(iter(drafts), None))

    def _before_it_went_on(self, node: Node, version: int) -> Artifact | None:
        """What a draft was while it was whole: one that was to go further is read meanwhile as far as it was then."""
        folder = self._folder(node, version)
        return read_artifact(folder) if (folder / RECORD).exists() else None


def _ends_early(found: Found, node: Node) -> bool:
    """Whether what is there is whole and less than is wanted now: it goes on from where it is."""
    there = found.artifact.record.get("extent") if found.artifact else None
    if found.state != "present" or node.extent is None or there is None:
        return False
    pairs = zip(_bounds(there), _bounds(node.extent), strict=False)
    return any(was is not None and (now is None or was < now) for was, now in pairs)


def _bounds(extent: int | list[int | None]) -> list[int | None]:
    """How far a stage was to go, as a list of bounds."""
    return extent if isinstance(extent, list) else [extent]


def inspected(artifact: Artifact) -> Found:
    """A committed artifact as it is now: whole, edited by people where they may, or damaged."""
    wrong = damage(artifact.folder, artifact.record)
    edited = tuple(
        name
        for name, what in wrong.items()
        if name in artifact.record["editable"] and what not in ("is missing", "is empty")
    )
    if set(wrong) - set(edited):
        return Found("damaged", artifact, damage=wrong)
    if not edited:
        return Found("present", artifact)
    files = {name: digest for name, (_, digest) in artifact.record["files"].items()}
    now = files | storage.digests(artifact.folder, edited)
    record = {**artifact.record, "digest": digest_of(now)}
    return Found("present", replace(artifact, record=record), edited=edited)


def _begun_before(folder: Path) -> str:
    """What a draft that is there was called when it was begun; "" without one."""
    draft = folder / DRAFT
    return json.loads(draft.read_text(encoding="utf-8")).get(BEGUN, "") if draft.exists() else ""


def _holds_nothing(draft: Path) -> bool:
    """Whether a draft has no row yet: no data but empty files and the log of the try that failed."""
    return not any(size for name, size in data_sizes(draft).items() if Path(name).parts[0] != TRANSCRIPTS)


def _is_torn(folder: Path) -> bool:
    """Whether a folder holds something and is neither an artifact nor a draft: a copy of one that stopped halfway."""
    holds = (folder / RECORD).exists() or (folder / MARKER).exists() or bool(data_sizes(folder))
    return holds and not is_committed(folder) and not (folder / DRAFT).exists()


def differences(record: Mapping[str, Any], node: Node, inputs: Mapping[str, Made]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ between a record and what is wanted now: key -> (recorded, wanted)."""
    old, new = flat(record["settings"]), flat(node.settings)
    changed = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
    for key in sorted({*record["inputs"], *inputs}):
        recorded, now = record["inputs"].get(key), inputs.get(key)
        if key in record["inputs"] and recorded is None:
            continue  # a draft begun before this input was there
        same = now.is_still(recorded) if isinstance(now, Head) else recorded == now
        # An input that the record does not know is new even while it has no digest: it is yet to be made.
        if (key in record["inputs"]) != (key in inputs) or not same:
            changed[f"input {key}"] = (recorded, now.digest() if isinstance(now, Head) else now)
    return changed
