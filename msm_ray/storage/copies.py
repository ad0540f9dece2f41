"""Real files on this node's disk, for what can't read a bucket: models, adapters, memory-mapped blocks, whole stages.

Below `MSM_CACHE` (left out: `~/.cache/msm_ray`) lies a folder a root, with two kinds of things in it: `here`, copies of artifacts
under their digests, which nothing changes; and desks, where a stage that writes real files fills its folder until it is committed
to the bucket. All of it can be removed when no run goes on: copies are fetched again, and what a desk held that was not committed
is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from msm_ray.errors import OutOfMeans, StageError, no_room
from msm_ray.storage import lease
from msm_ray.storage.folders import AT_ONCE, digests, sizes
from msm_ray.storage.places import place

CACHE = "MSM_CACHE"
RECORD, MARKER, DRAFT = "artifact.json", "COMMITTED", "draft.json"
"""What an artifact's folder holds beside its data (`graph/artifacts.py`)."""
SPARE = 64 * 2**20
"""Bytes that stay free beside a copy."""


def local(root: Path) -> Path:
    """The folder on this node's disk that belongs to a root: the root itself, or one below `MSM_CACHE` for a bucket's."""
    if isinstance(root, Path):
        return root
    name = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return _cache() / f"{str(root).partition('://')[2].replace('/', '-')[-40:]}-{name}"


def _cache() -> Path:
    if given := os.environ.get(CACHE):
        return Path(given).expanduser().resolve()
    home = Path(os.environ.get("HOME", "/"))
    below = home / ".cache" if os.access(home, os.W_OK) else Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return below / "msm_ray"


def here(folder: Path) -> Path:
    """A committed artifact as real files on this node's disk; a folder's own is where it lies.

    Fetched once, checked against the record's digests, and known by the artifact's digest. Raises OutOfMeans where the disk has
    no room for it, StageError where what comes is not what was committed.
    """
    if isinstance(folder, Path):
        return folder
    bucket: Any = folder
    record = json.loads(bucket.joinpath(RECORD).read_bytes())
    own = _desk_folder(folder)
    if (own / MARKER).is_file() and (own / MARKER).read_text(encoding="utf-8") == record["digest"]:
        return own  # it was made here
    copy = local(bucket.parent.parent) / "here" / record["digest"][:32] / bucket.parent.name / bucket.name
    if not (copy / MARKER).is_file():
        _fetch(folder, record, copy)
    return copy


def _fetch(folder: Path, record: Mapping[str, Any], copy: Path) -> None:
    files = {name: digest for name, (_, digest) in record["files"].items()}
    partial = copy.with_name(f".{copy.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        _refuse_too_large(sum(size for size, _ in record["files"].values()), copy)
        _bring(folder, [*files, RECORD, MARKER], partial)
        if wrong := [name for name, digest in digests(partial, files).items() if digest != files[name]]:
            raise StageError(f"{folder}: {', '.join(wrong)} is not what was committed; see `msm verify`")
        partial.replace(copy)
    except FileExistsError:
        pass  # another process of this node was faster
    except OSError as error:
        if (copy / MARKER).is_file():
            return
        if full := no_room(error):
            raise OutOfMeans(f"{full}, where {folder} was to be copied to; {_remedy()}") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _bring(folder: Any, names: list[str], out: Path) -> None:
    for parent in {(out / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: (folder / name).get_file(out / name), names))


def _refuse_too_large(needed: int, where: Path) -> None:
    free = shutil.disk_usage(where.parent).free
    if needed + SPARE > free:
        raise OutOfMeans(
            f"{where}: {needed / 2**30:.1f} GiB are to be copied there and {free / 2**30:.1f} GiB are free; {_remedy()}"
        )


def _remedy() -> str:
    return (
        f"make room on {os.uname().nodename}, or name a folder on a larger disk by {CACHE} (what was written is safe)"
    )


def _desk_folder(folder: Any) -> Path:
    return local(folder.parent.parent) / "desks" / folder.parent.name / folder.name


def _note_of(desk_folder: Path) -> Path:
    return desk_folder.with_name(f".{desk_folder.name}.home")


def desk(folder: Path, draft: Mapping[str, Any]) -> Path:
    """The folder on this node's disk in which a stage fills an artifact of a bucket.

    draft: what was begun, told from other drafts by `begun`: what was filled for another is wiped. Raises OutOfMeans where
    nothing can be written there.
    """
    out = _desk_folder(folder)
    note = _note_of(out)
    try:
        noted = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        if noted.get("begun") != draft.get("begun"):
            shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).unlink(missing_ok=True)
        said = {"home": str(folder), "begun": draft.get("begun"), "lease": lease.number(folder.parent.parent)}
        note.write_text(json.dumps(said), encoding="utf-8")
    except OSError as error:
        raise OutOfMeans(f"{out}: cannot be written ({error.strerror}); {_remedy()}") from None
    return out


def home(folder: Path) -> Path | None:
    """Where in a bucket the content of a desk is committed to; None for any other folder."""
    note = _note_of(folder)
    if not isinstance(folder, Path) or not note.is_file():
        return None
    return place(json.loads(note.read_text(encoding="utf-8"))["home"])


def mirrored(folder: Path) -> Path:
    """Where an artifact will lie for others: a desk's home, or the folder itself."""
    return home(folder) or folder


def commit_desk(folder: Path, texts: Mapping[str, str]) -> None:
    """Put what a desk holds into its home: data first, then `texts` (record, then marker) in their order.

    What else is there goes. Nothing to do for any other folder. Raises OutOfMeans where the root is another run's by now: a
    worker of a run that was lost may come as far as this.
    """
    target: Any = home(folder)
    if target is None:
        return
    noted = json.loads(_note_of(folder).read_text(encoding="utf-8"))
    lease.check_still(target.parent.parent, noted["lease"])
    mine = [name for name in sizes(folder) if name not in texts]
    there = sizes(target)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: (target / name).put_file(folder / name), mine))
    for name in sorted({*there} - {*mine, *texts, DRAFT}):
        (target / name).unlink(missing_ok=True)
    lease.check_still(target.parent.parent, noted["lease"])
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    (target / DRAFT).unlink(missing_ok=True)
