"""Files that are whole or absent, whatever ends the process, and that a power cut does not take back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

NO_SUCH_CALL = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF})


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part. text: whole, or piece by piece."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines([text] if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    settle(path.parent)


def settle(path: Path) -> None:
    """Have the bytes of a file, or the names in a folder, put on the disk now, so that a power cut does not take them.

    Some network file systems know no such call for folders: there the names are as safe as the server makes them.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL or not path.is_dir():
            raise
    finally:
        os.close(number)
