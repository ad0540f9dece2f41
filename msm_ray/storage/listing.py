"""One listing in place of a question an object: what a plan asks is mostly which files are there, and how large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Listing:
    """The objects whose paths begin with `start`, as they were: path -> what the server said of each."""

    start: str
    found: dict[str, dict[str, Any]]

    def covers(self, path: str) -> bool:
        """Whether all that begins with this path was listed."""
        return path.startswith(self.start)

    def info(self, path: str) -> dict[str, Any] | None:
        """What is at a path; None for nothing."""
        if path in self.found:
            return self.found[path]
        inside = any(each.startswith(f"{path}/") for each in self.found)
        return {"name": path, "size": 0, "type": "directory"} if inside else None

    def glob(self, path: str, pattern: str) -> list[str]:
        """Paths below one that fit a pattern, folders too."""
        parts = pattern.split("/")
        fitting = set()
        for each in self.found:
            below = each[len(path) + 1 :].split("/") if each.startswith(f"{path}/") else []
            if len(below) >= len(parts) and all(map(fnmatchcase, below, parts)):
                fitting.add("/".join([path, *below[: len(parts)]]))
        return sorted(fitting)


_listings: ContextVar[tuple[Listing, ...]] = ContextVar("listings", default=())


def listed(path: str) -> Listing | None:
    """The listing that answers for all that begins with a path, where one was taken."""
    return next((listing for listing in reversed(_listings.get()) if listing.covers(path)), None)


@contextlib.contextmanager
def at_once(folder: Path, start: str = "") -> Iterator[None]:
    """Inside, questions about what is below a bucket's folder and begins with `start` are answered by one listing, taken now.

    For who only looks: what is written or removed meanwhile is not seen. A folder on a disk is asked each time.
    """
    if isinstance(folder, Path):
        yield
        return
    bucket: Any = folder
    whole = f"{bucket.path.rstrip('/')}/{start}"
    if listed(whole) is not None:
        yield
        return
    token = _listings.set((*_listings.get(), Listing(whole, bucket.found(start))))
    try:
        yield
    finally:
        _listings.reset(token)
