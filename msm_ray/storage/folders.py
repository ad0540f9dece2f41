"""What is asked of and done to a whole folder, in one listing where it lies in a bucket: sizes, digests, removal."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REMOVED = ".removed"
WHOLE = 32 * 2**20
"""Bytes of an object that is brought in one piece to be digested; a larger one is read piece by piece."""
AT_ONCE = 16
"""Objects that are read or put at the same time: most of a small object's time is the way to the server and back."""


def sizes(folder: Path) -> dict[str, int]:
    """Every file below a folder: name -> bytes; nothing where there is no such folder."""
    if isinstance(folder, Path):
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()
        }
    bucket: Any = folder
    return bucket.below()


def digests(folder: Path, names: Iterable[str], *, fresh: bool = False) -> dict[str, str]:
    """SHA-256 of files of a folder, by their names.

    fresh: they were just written: of what this process put into a bucket, and is still there by the server's tag, the digest is
    known and nothing is read.
    """
    listed = list(names)
    if isinstance(folder, Path):
        return {name: _digest(folder / name) for name in listed}
    bucket: Any = folder
    known = bucket.digests(listed) if fresh and listed else {}
    unknown = [name for name in listed if name not in known]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = dict(zip(unknown, pool.map(lambda name: _digest(folder / name), unknown), strict=True))
    return {name: known.get(name) or read[name] for name in listed}


def _digest(path: Path) -> str:
    if not isinstance(path, Path) and path.stat().st_size <= WHOLE:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ends(folder: Path, names: Iterable[str], count: int) -> dict[str, tuple[int, bytes]]:
    """Size and last bytes, at most `count`, of files of a folder, by their names."""
    there, listed = sizes(folder), list(names)

    def end(name: str) -> bytes:
        start, path = max(0, there[name] - count), folder / name
        if not isinstance(path, Path):
            return path.read_range(start, there[name])
        with path.open("rb") as file:
            file.seek(start)
            return file.read()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {name: (there[name], bytes) for name, bytes in zip(listed, pool.map(end, listed), strict=True)}


def remove(folder: Path) -> None:
    """Remove an artifact so that half of it is never taken for a whole or damaged one, whatever ends the process.

    A folder is renamed first. In a bucket a note beside it comes first, so that the next run removes what is left (`sweep`).
    """
    aside = folder.with_name(f".{folder.name}{REMOVED}")
    if isinstance(folder, Path):
        shutil.rmtree(folder.rename(aside))
        return
    bucket: Any = folder
    aside.write_bytes(b"")
    bucket.remove_below()
    aside.unlink(missing_ok=True)


def sweep(root: Path) -> None:
    """Finish what a killed run left in a bucket: removals half done, and parts of files that were never put together.

    Called by who holds the root, as none else is writing there.
    """
    if isinstance(root, Path):
        return
    for note in root.glob(f"[!.]*/.*{REMOVED}"):
        left: Any = note.with_name(note.name.removesuffix(REMOVED)[1:])
        left.remove_below()
        note.unlink(missing_ok=True)
    _abort_parts(root)


def _abort_parts(root: Any) -> None:
    """S3 keeps, and charges for, the parts of uploads that were begun and never ended. GCS forgets them by itself."""
    if not hasattr(root.fs, "call_s3"):
        return
    bucket, _, prefix = root.path.partition("/")
    with contextlib.suppress(PermissionError, NotImplementedError):  # a bucket's own rule may do it instead
        begun = root.fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/".lstrip("/"))
        for upload in begun.get("Uploads", []):
            root.fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
