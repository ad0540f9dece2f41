"""Files that are whole or absent, whatever ends the process, and that a power cut does not take back.

On a disk by another name that is changed when all is written; in a bucket (`storage/bucket.py`) a put is whole by itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NO_SUCH_CALL = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF})
AT_ONCE = 16
"""Objects that are read at the same time: most of a small one's time is the way to the server and back."""


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part. text: whole, or piece by piece."""
    if not isinstance(path, Path):  # in a bucket
        path.write_text(text if isinstance(text, str) else "".join(text), encoding="utf-8")
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines([text] if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    settle(path.parent)


def add_line(path: Path, line: str) -> None:
    """Add a line (or several, as one text) to a file that only grows, to be read again by `lines_in`: whole or not at all.

    Nothing can be added to an object of a bucket: there each text is one of its own, in the folder `<name>.d` beside it.
    """
    if isinstance(path, Path):
        left = memoryview(f"{line}\n".encode())
        with path.open("ab", buffering=0) as file:  # else what a full disk did not take would be tried again at the end
            before = file.tell()
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    else:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.jsonl"
        (path.with_name(f"{path.name}.d") / name).write_text(line + "\n", encoding="utf-8")


def lines_in(path: Path) -> bytes:
    """What was added to a file line by line, whole lines only; nothing where there is none. A line being written is not there."""
    if isinstance(path, Path):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]
    whole = path.read_bytes() if path.is_file() else b""  # of a stage that was made on a disk and put here
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = path.with_name(f"{path.name}.d").glob("*.jsonl")
        return whole + b"".join(pool.map(lambda part: part.read_bytes(), parts))


def settle(path: Path) -> None:
    """Have the bytes of a file, or the names in a folder, put on the disk now, so that a power cut does not take them.

    Some network file systems know no such call for folders: there the names are as safe as the server makes them. What a bucket
    has taken is safe.
    """
    if not isinstance(path, Path):
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL or not path.is_dir():
            raise
    finally:
        os.close(number)
