"""Who writes below a root that is a folder: the holder of a lock on a file there, whose name stands in it while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from msm_ray.errors import PreflightError

FILE = ".lock"


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Inside, this process alone writes below `root`. Raises PreflightError where another does, or nothing can be written.

    Some shared folders are mounted so that a lock holds on its own machine only, and nothing says so. What can be said is that
    another machine's run has not told its end.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / FILE).open("a+")
    except OSError as error:
        raise PreflightError(f"{root}: cannot write there ({error.strerror}); give another root=FOLDER") from None
    with file:
        _take(root, file)
        file.seek(0)
        _warn_of_another_machine(root, file.read().strip())
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # then the next run elsewhere is told of this one
                file.truncate(0)


def _take(root: Path, file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise PreflightError(
            f"{root}: another msm run ({file.read().strip() or 'unknown'}) is writing there; wait for it, "
            "end it, or give this one its own root=FOLDER"
        ) from None
    except OSError as error:
        raise PreflightError(
            f"{root}: this file system takes no locks ({error.strerror}), so that two runs could spoil each "
            "other's work; mount it with locks (NFS: with lockd, Lustre: -o flock), or give a root=FOLDER elsewhere"
        ) from None


def _warn_of_another_machine(root: Path, last: str) -> None:
    """last: what stands in the file; it is emptied by a run that ends."""
    if last and last.partition(" on ")[2] != platform.node():
        print(
            f"msm: {root}: the last run there ({last}) did not say that it ended. If it was killed, all is well; if it still "
            "runs, end one of the two: this folder's locks do not reach other machines (docs/clusters.md)",
            file=sys.stderr,
            flush=True,
        )
