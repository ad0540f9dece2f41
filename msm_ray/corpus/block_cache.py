"""Blocks on a node's own disk: what lies in an object store can't be memory-mapped, and a shared folder is slow at random."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msm_ray.corpus.blocks import FACTS, read_facts
from msm_ray.errors import StageError, no_room

CHUNK = 2**24


def local_copy(folder: Path, cache: Path | None) -> Path:
    """A folder with these blocks on this node's disk; the processes of a node share one copy, and the first makes it.

    cache: for copies; None: blocks are read where they lie, but for those of an object store, whose copies lie in the folder for
    temporary files. Copies that were not used for longest go where room is needed. Raises StageError where there is too little
    room, or where a file is not what was written.
    """
    facts = read_facts(folder)
    if cache is None and getattr(folder, "protocol", "") in ("", "file", "local"):
        return folder
    cache = cache or Path(tempfile.gettempdir()) / f"msm-blocks-{os.getuid()}"
    said = (folder / FACTS).read_bytes()
    copied = cache / f"blocks-{hashlib.sha256(said).hexdigest()[:16]}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{copied.name}.lock"):
            if not copied.is_dir():
                _copy(folder, facts, said, copied)
            os.utime(copied)
    except OSError as error:
        remedy = (
            "make room, or set cluster.node_cache to a folder of each node with more"
            if no_room(error)
            else "look at it"
        )
        raise StageError(f"{cache}: {folder} cannot be copied there ({error.strerror or error}); {remedy}") from error
    return copied


def _copy(folder: Path, facts: Mapping[str, Any], said: bytes, copied: Path) -> None:
    sizes = {told["file"]: (folder / told["file"]).stat().st_size for told in facts["files"]}
    _make_room(copied.parent, sum(sizes.values()))
    begun = copied.with_name(f".{copied.name}.tmp")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    for told in facts["files"]:
        if _copied(folder / told["file"], begun / told["file"]) != told["digest"]:
            shutil.rmtree(begun)
            raise StageError(
                f"{folder / told['file']}: other bytes than were written; remove the folder to have the blocks made again"
            )
    (begun / FACTS).write_bytes(said)
    begun.rename(copied)


def _copied(source: Path, target: Path) -> str:
    """SHA-256 of the bytes that were copied."""
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            write.write(chunk)
    return digest.hexdigest()


def _make_room(cache: Path, needed: int) -> None:
    """Remove copies, least recently used first; a training that has one open goes on with it."""
    others = sorted(cache.glob("blocks-*"), key=lambda path: path.stat().st_mtime)
    while (free := shutil.disk_usage(cache).free) < needed and others:
        shutil.rmtree(others.pop(0))
    if free < needed:
        raise StageError(
            f"{cache}: blocks of {needed / 2**30:,.1f} GiB are to be copied there, {free / 2**30:,.1f} are free; make room, or "
            "set cluster.node_cache to a folder of each node with more"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Inside, no other process of this node is."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
