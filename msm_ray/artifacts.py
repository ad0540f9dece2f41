"""The artifact contract: `<root>/<stage>/<name>@<version>/` with data, `artifact.json`, and a commit marker written last.

A folder without its marker is a draft: never read by anything but the stage that resumes it. Every artifact carries the
settings that decided its content (the fingerprint is their hash), the digests of what it was made from, and the names, sizes
and digests of its files, so that a changed setting, a changed input or a damaged file is found and named instead of silently
reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msm_ray import provenance
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.whole_files import settle, write_whole

RECORD, MARKER, DRAFT = "artifact.json", "COMMITTED", "draft.json"
TORN = ".*.tmp"
"""Temporary files that a killed writer leaves; no data."""
HALFWAY = "is neither whole nor begun: it was copied halfway"
EDITABLE = frozenset({"outline.yaml"})
"""Files that people may edit: an artifact with an edited one is used as it is now, and its digest is another."""
TRANSCRIPTS = "logs"
"""Folder of a stage's own log, which every try writes anew: no rows."""
CHEAP_BYTES = 2**20
"""Files up to this size are read before an artifact is used; of larger ones the size is looked at."""


@dataclass(frozen=True)
class Artifact:
    """A committed artifact. record: the parsed `artifact.json`."""

    stage: str
    name: str
    version: int
    folder: Path
    record: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over the artifact's data files, taken when it was committed."""
        return self.record["digest"]

    @property
    def counts(self) -> Mapping[str, Any]:
        """What the stage counted: rows, tokens, steps, rejected..."""
        return self.record["counts"]


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 of the settings as canonical JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def commit(folder: Path, record: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Make a draft an artifact: data, record, marker, each on the disk before the next. Called once, when all data is there.

    An input whose digest was not known when the stage was planned (a checkpoint trained by the same worker group) stands
    in `record["pending"]` as key -> folder, and is committed by now.
    """
    for path in (*folder.rglob("*"), folder):
        settle(path)
    pending = record.get("pending", {})
    inputs = {key: digest or committed_digest(Path(pending[key])) for key, digest in record["inputs"].items()}
    files = {name: (path.stat().st_size, _file_digest(path)) for name, path in _data_files(folder).items()}
    done = {
        **{key: value for key, value in record.items() if key != "pending"},
        "inputs": inputs,
        "counts": dict(counts),
        "digest": _digest_of({name: digest for name, (_, digest) in files.items()}),
        "files": files,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": provenance.versions(),
        "commit": provenance.git_commit(),
    }
    write_whole(folder / RECORD, json.dumps(done, indent=1, sort_keys=True))
    write_whole(folder / MARKER, done["digest"])
    (folder / DRAFT).unlink(missing_ok=True)  # after the marker: a crash between the two leaves a whole artifact


def is_committed(folder: Path) -> bool:
    """Whether the folder is whole."""
    return (folder / MARKER).exists() and (folder / RECORD).exists()


def committed_digest(folder: Path) -> str:
    """The digest of a committed artifact's folder."""
    return _read_record(folder)["digest"]


def read_artifact(folder: Path) -> Artifact:
    """The committed artifact in a folder. Raises SettingsError for a record that cannot be read."""
    record = _read_record(folder)
    return Artifact(record["stage"], record["name"], record["version"], folder, record)


def content_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of every data file below the folder, in the order of their names."""
    return _digest_of({name: _file_digest(path) for name, path in _data_files(folder).items()})


def _digest_of(files: Mapping[str, str]) -> str:
    total = hashlib.sha256()
    for name in sorted(files, key=lambda name: Path(name)):
        total.update(name.encode() + b"\0" + bytes.fromhex(files[name]))
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _data_files(folder: Path) -> dict[str, Path]:
    """Name -> path of every data file: not the contract's own, nor what a killed writer or a file manager left."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path
        for name, path in found.items()
        if name not in (RECORD, MARKER, DRAFT) and not path.match(TORN) and path.name != ".DS_Store"
    }


def damage(folder: Path, record: Mapping[str, Any], *, every_byte: bool = False) -> dict[str, str]:
    """What in a committed folder is not what was committed: name of the file -> what is wrong with it.

    Names and sizes always, content where it is cheap (`CHEAP_BYTES`) or asked for. Where the record knows no files (made by an
    older version) there is only the digest of all of them.
    """
    if "files" not in record:
        whole = not every_byte or content_digest(folder) == record["digest"]
        return {} if whole else {"its data": "has other content"}
    there, wrong = _data_files(folder), {}
    for name, (size, digest) in record["files"].items():
        path = there.pop(name, None)
        actual = path.stat().st_size if path else 0
        if path is None:
            wrong[name] = "is missing"
        elif actual != size:
            wrong[name] = "is empty" if not actual else f"has {actual:,} bytes, not {size:,}"
        elif (every_byte or size <= CHEAP_BYTES) and _file_digest(path) != digest:
            wrong[name] = "has other content"
    marker = folder / MARKER
    if not marker.is_file() or marker.read_text(encoding="utf-8", errors="replace") != record["digest"]:
        wrong[MARKER] = "is not this artifact's"
    return wrong | dict.fromkeys(there, "was not there")


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
        self.root = Path(root).expanduser().resolve()

    def find(self, stage: str, name: str, settings: Mapping[str, Any], inputs: Mapping[str, str | None]) -> Found:
        """Look a stage up. settings: what decides its content; inputs: key -> digest of each input (None: not there yet)."""
        committed = self._committed(stage, name)
        for artifact in reversed(committed):
            if not _differences(artifact.record, settings, inputs):
                return inspected(artifact)
        draft = self._draft(stage, name)
        unfinished = _differences(draft, settings, inputs) if draft else None
        if draft and not unfinished:
            return Found("missing", draft=True)
        if draft and _holds_nothing(self._folder(stage, name, draft["version"])):
            unfinished = None  # it failed before its first row: nothing is lost by starting it anew
        if torn := [f for v in self._versions(stage, name) if _is_torn(f := self._folder(stage, name, v))]:
            return Found("damaged", damage={torn[-1].name: HALFWAY})
        if committed:
            return Found("stale", committed[-1], _differences(committed[-1].record, settings, inputs))
        return Found("stale", None, unfinished, draft=True) if unfinished else Found("missing")

    def begin(
        self,
        stage: str,
        name: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str | None],
        *,
        anew: str | None = None,
        replaced: int | None = None,
    ) -> tuple[Path, dict[str, Any]]:
        """The folder to write into and the record to commit it with. A draft of the same settings is gone on with, one of others
        that holds nothing yet makes room.

        anew: `version` makes the next version, `force` wipes one and takes its place: version `replaced`, or the newest.
        """
        versions = self._versions(stage, name)
        newest = self._folder(stage, name, versions[-1]) if versions else None
        draft = self._draft(stage, name)
        if newest and anew == "force":
            version = replaced if replaced in versions else versions[-1]
            old = self._folder(stage, name, version)
            old.rename(old.with_name(f".{old.name}.removed"))  # at once: half a folder would be taken for damage
        elif newest and draft and not is_committed(newest) and not _differences(draft, settings, inputs):
            version = versions[-1]  # go on with the unfinished try
        elif newest and draft and not is_committed(newest) and _holds_nothing(newest):
            version = versions[-1]
            shutil.rmtree(newest)
        else:
            version = (versions[-1] + 1) if versions else 1
        for removed in (self.root / stage).glob(f".{name}@*.removed"):
            shutil.rmtree(removed)
        folder = self._folder(stage, name, version)
        record = {
            "stage": stage,
            "name": name,
            "version": version,
            "fingerprint": fingerprint(settings),
            "settings": dict(settings),
            "inputs": dict(inputs),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for torn in folder.rglob(TORN):
                torn.unlink()
            write_whole(folder / DRAFT, json.dumps(record, indent=1, sort_keys=True))
        except PermissionError as error:
            raise PreflightError(f"{folder}: cannot write there ({error.strerror}); whose is it?") from None
        return folder, record

    def all(self) -> list[Artifact]:
        """Every committed artifact, by stage, name and version."""
        found = []
        for marker in self.root.glob(f"[!.]*/[!.]*/{MARKER}"):
            if is_committed(marker.parent):
                found.append(read_artifact(marker.parent))
        return sorted(found, key=lambda a: (a.stage, a.name, a.version))

    def verify(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Read every byte below the root: (`stage/name@version`, what is wrong with it), nothing wrong where it is whole."""
        for folder in sorted(self.root.glob("[!.]*/[!.]*@*")):
            label = f"{folder.parent.name}/{folder.name}"
            if is_committed(folder):
                try:
                    yield label, damage(folder, _read_record(folder), every_byte=True)
                except SettingsError:
                    yield label, {RECORD: "cannot be read"}
            elif _is_torn(folder):
                yield label, {folder.name: HALFWAY}

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Only one run writes below a root at a time: two runs in one checkpoint folder spoil both (paper.md, point 13)."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = (self.root / ".lock").open("a+")
        except OSError as error:
            raise PreflightError(
                f"{self.root}: cannot write there ({error.strerror}); give another root=FOLDER"
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise PreflightError(
                    f"{self.root}: another msm run ({file.read().strip() or 'unknown'}) is writing there; wait for it, "
                    "end it, or give this one its own root=FOLDER"
                ) from None
            except OSError as error:
                raise PreflightError(
                    f"{self.root}: this file system takes no locks ({error.strerror}), so that two runs could spoil each "
                    "other's work; mount it with locks (NFS: with lockd, Lustre: -o flock), or give a root=FOLDER elsewhere"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield

    def _folder(self, stage: str, name: str, version: int) -> Path:
        return self.root / stage / f"{name}@{version}"

    def _versions(self, stage: str, name: str) -> list[int]:
        """All versions there are, drafts too, in numeric order (10 after 9)."""
        folders = (self.root / stage).glob(f"{name}@*")
        return sorted(int(number) for f in folders if (number := f.name.rpartition("@")[2]).isdigit())

    def _committed(self, stage: str, name: str) -> list[Artifact]:
        folders = [(v, self._folder(stage, name, v)) for v in self._versions(stage, name)]
        return [Artifact(stage, name, v, f, _read_record(f)) for v, f in folders if is_committed(f)]

    def _draft(self, stage: str, name: str) -> dict[str, Any] | None:
        for version in reversed(self._versions(stage, name)):
            folder = self._folder(stage, name, version)
            path = folder / DRAFT
            if path.exists() and not is_committed(folder):
                return json.loads(path.read_text(encoding="utf-8"))
        return None


def inspected(artifact: Artifact) -> Found:
    """A committed artifact as it is now: whole, edited by people where they may, or damaged."""
    wrong = damage(artifact.folder, artifact.record)
    edited = tuple(name for name, what in wrong.items() if name in EDITABLE and what not in ("is missing", "is empty"))
    if set(wrong) - set(edited):
        return Found("damaged", artifact, damage=wrong)
    if not edited:
        return Found("present", artifact)
    files = {name: digest for name, (_, digest) in artifact.record["files"].items()}
    now = files | {name: _file_digest(artifact.folder / name) for name in edited}
    record = {**artifact.record, "digest": _digest_of(now)}
    return Found("present", replace(artifact, record=record), edited=edited)


def _holds_nothing(draft: Path) -> bool:
    """Whether a draft has no row yet: no data but empty files and the log of the try that failed."""
    files = _data_files(draft)
    return not any(path.stat().st_size for name, path in files.items() if Path(name).parts[0] != TRANSCRIPTS)


def _is_torn(folder: Path) -> bool:
    """Whether a folder holds something and is neither an artifact nor a draft: a copy of one that stopped halfway."""
    holds = (folder / RECORD).exists() or (folder / MARKER).exists() or bool(_data_files(folder))
    return holds and not is_committed(folder) and not (folder / DRAFT).exists()


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise SettingsError(
            f"{folder / RECORD}: unreadable record of a committed artifact ({error}); restore it, "
            "or remove the folder to make it anew"
        ) from None


def _differences(
    record: Mapping[str, Any], settings: Mapping[str, Any], inputs: Mapping[str, str | None]
) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ between a record and what is wanted now: key -> (recorded, wanted)."""
    old, new = flat(record["settings"]), flat(settings)
    changed = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
    for key in sorted({*record["inputs"], *inputs}):
        if key in record["inputs"] and record["inputs"][key] is None:
            continue  # a draft begun before this input was there
        # An input that the record does not know is new even while it has no digest: it is yet to be made.
        if (key in record["inputs"]) != (key in inputs) or record["inputs"].get(key) != inputs.get(key):
            changed[f"input {key}"] = (record["inputs"].get(key), inputs.get(key))
    return changed


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}
