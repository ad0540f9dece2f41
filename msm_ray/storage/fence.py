"""Whether this process may still write below a root in a bucket: asked before each write, answered without asking anybody."""

from __future__ import annotations

from typing import Any, Protocol


class Fence(Protocol):
    """Who holds a root. `lease.Lease` is one."""

    root: Any

    def check(self) -> None:
        """Raise OutOfMeans where the root may be another's by now."""


_fences: list[Fence] = []


def fences() -> tuple[Fence, ...]:
    """Those of this process."""
    return tuple(_fences)


def check(path: Any) -> None:
    """Raise OutOfMeans where a lease of this process that the path lies under was lost. Paths under no lease are free."""
    for fence in _fences:
        if str(path).startswith(f"{str(fence.root).rstrip('/')}/"):
            fence.check()


def raise_fence(fence: Fence) -> None:
    """From now on writes below its root ask it."""
    _fences.append(fence)


def lower_fence(fence: Fence) -> None:
    """No longer."""
    _fences.remove(fence)
