"""The artifact contract: `<root>/<stage>/<name>@<version>/` with data, `artifact.json`, and a commit marker written last.

A folder without its marker is a draft: never read by anything but the stage that resumes it. Every artifact carries the
settings that decided its content (the fingerprint is their hash), the digests of what it was made from, and the names, sizes
and digests of its files, so that a changed setting, a changed input or a damaged file is found and named instead of silently
reused.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from msm_ray import provenance, storage
from msm_ray.errors import SettingsError
from msm_ray.storage.copies import DRAFT, MARKER, RECORD
from msm_ray.whole_files import settle, write_whole

FORMAT = 2
"""Of the contract: what a record says, and what a fingerprint is made of."""
TORN = ".*.tmp"
"""Temporary files that a killed writer leaves; no data."""
HALFWAY = "is neither whole nor begun: it was copied halfway"
TRANSCRIPTS = "logs"
"""Folder of a stage's own log, which every try writes anew: no rows."""
CHEAP_BYTES = 2**20
"""Files up to this size are read before an artifact is used; of larger ones, and in a bucket, the size is looked at."""
BEGUN = "begun"
"""Of a draft in a bucket: what tells it from another of the same settings."""
NOT_RECORDED = ("pending", BEGUN)


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
    in `record["pending"]` as key -> folder, and is committed by now. One of a bucket that was made on this node's disk
    (`storage.desk`) is committed there first.
    """
    for path in (*folder.rglob("*"), folder) if isinstance(folder, Path) else ():
        settle(path)
    pending = record.get("pending", {})
    inputs = {key: digest or committed_digest(storage.place(pending[key])) for key, digest in record["inputs"].items()}
    there = data_sizes(folder)
    hashed = storage.digests(folder, there, fresh=True)
    files = {name: (size, hashed[name]) for name, size in there.items()}
    done = {
        **{key: value for key, value in record.items() if key not in NOT_RECORDED},
        "inputs": inputs,
        "counts": dict(counts),
        "digest": digest_of({name: digest for name, (_, digest) in files.items()}),
        "files": files,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": provenance.versions(),
        "commit": provenance.git_commit(),
    }
    said = json.dumps(done, indent=1, sort_keys=True)
    storage.commit_desk(folder, {RECORD: said, MARKER: done["digest"]})
    write_whole(folder / RECORD, said)
    write_whole(folder / MARKER, done["digest"])
    (folder / DRAFT).unlink(missing_ok=True)  # after the marker: a crash between the two leaves a whole artifact


def is_committed(folder: Path) -> bool:
    """Whether the folder is whole."""
    return (folder / MARKER).exists() and (folder / RECORD).exists()


def committed_digest(folder: Path) -> str:
    """The digest of a committed artifact's folder."""
    return read_record(folder)["digest"]


def read_artifact(folder: Path) -> Artifact:
    """The committed artifact in a folder. Raises SettingsError for a record that cannot be read."""
    record = read_record(folder)
    return Artifact(record["stage"], record["name"], record["version"], folder, record)


def content_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of every data file below the folder, in the order of their names."""
    return digest_of(storage.digests(folder, data_sizes(folder)))


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 over names and digests of files."""
    total = hashlib.sha256()
    for name in sorted(files, key=lambda name: Path(name)):
        total.update(name.encode() + b"\0" + bytes.fromhex(files[name]))
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_sizes(folder: Path) -> dict[str, int]:
    """Name -> bytes of every data file: not the contract's own, nor what a killed writer or a file manager left."""
    return {
        name: size
        for name, size in storage.sizes(folder).items()
        if name not in (RECORD, MARKER, DRAFT) and not PurePath(name).match(TORN) and PurePath(name).name != ".DS_Store"
    }


def damage(folder: Path, record: Mapping[str, Any], *, every_byte: bool = False) -> dict[str, str]:
    """What in a committed folder is not what was committed: name of the file -> what is wrong with it.

    Names and sizes always, content where it is cheap (`CHEAP_BYTES`; in a bucket of what people may edit), or asked for.
    """
    there, wrong = data_sizes(folder), dict[str, str]()
    to_read: dict[str, str] = {}
    for name, (size, digest) in record["files"].items():
        actual = there.pop(name, None)
        if actual is None:
            wrong[name] = "is missing"
        elif actual != size:
            wrong[name] = "is empty" if not actual else f"has {actual:,} bytes, not {size:,}"
        elif every_byte or (size <= CHEAP_BYTES if isinstance(folder, Path) else name in record["editable"]):
            to_read[name] = digest
    hashed = storage.digests(folder, to_read)
    wrong |= {name: "has other content" for name, digest in to_read.items() if hashed[name] != digest}
    marker = folder / MARKER
    if not marker.is_file() or marker.read_text(encoding="utf-8", errors="replace") != record["digest"]:
        wrong[MARKER] = "is not this artifact's"
    return wrong | dict.fromkeys(there, "was not there")


class EarlierFormat(SettingsError):
    """An artifact that a version of the program with another contract made."""


def of_this_format(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A record, where it is of today's contract. Raises EarlierFormat."""
    if record.get("format") != FORMAT:
        raise EarlierFormat(
            f"{folder.parent.parent}: an earlier version of msm_ray made {folder.parent.name}/{folder.name}, and this one reads "
            "none of its artifacts: give another root=FOLDER"
        )
    return record


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a committed artifact. Raises SettingsError for one that can't be read, EarlierFormat for an old one."""
    try:
        return of_this_format(json.loads((folder / RECORD).read_text(encoding="utf-8")), folder)
    except (OSError, json.JSONDecodeError) as error:
        raise SettingsError(
            f"{folder / RECORD}: unreadable record of a committed artifact ({error}); restore it, "
            "or remove the folder to make it anew"
        ) from None


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}
