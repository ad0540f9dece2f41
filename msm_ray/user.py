"""A name and a home for who runs this: containers run under user ids that have neither, and libraries ask for both."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path


def settle() -> None:
    """Put USER and HOME into the environment where there is no name and no folder to write to.

    torch, Ray and vLLM look the name up and fail without one; Ray keeps its token, and others their caches, at home. Workers
    inherit both.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid{os.getuid()}"
    home = os.environ.get("HOME")
    homeless = not home or home == "/" or not os.access(home, os.W_OK | os.X_OK)
    if homeless and (folder := _own_folder(Path(tempfile.gettempdir()) / f"msm-home-{os.getuid()}")):
        os.environ["HOME"] = str(folder)


def _own_folder(folder: Path) -> Path | None:
    """The folder, made where it is not there; None where it is somebody else's or can't be made."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder if folder.stat().st_uid == os.getuid() and not folder.is_symlink() else None
    except OSError:
        return None
