"""Sizes, ages and texts of others as a terminal shows them."""

from __future__ import annotations

import time
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any

from msm_ray.graph.artifacts import DRAFT
from msm_ray.storage import sizes


def plain(text: str) -> str:
    """A text with control characters spelled instead of sent: a model's answer must not move the cursor or ring."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else repr(c)[1:-1] for c in text)


def size(number: float) -> str:
    """Bytes as people say them: `93 kB`, `1.9 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def age(seconds: float) -> str:
    """`40 s`, `12 min`, `5 h`, `3 days`."""
    for unit, length, least in (("days", 86400, 2), ("h", 3600, 2), ("min", 60, 1)):
        if seconds >= least * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def seconds_since(record: Any, folder: Path) -> float:
    """Since an artifact was finished by its record, or a folder last changed where there is no record of it."""
    finished = record.get("finished")
    if finished:
        return time.time() - datetime.fromisoformat(finished).timestamp()
    changed = folder if isinstance(folder, Path) else folder / DRAFT  # a bucket knows nothing of folders
    return time.time() - changed.stat().st_mtime


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, or of the one file."""
    if not isinstance(folder, Path):
        return sum(sizes(folder).values())
    if not folder.is_dir():
        return folder.lstat().st_size
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
