"""The questions of an eval, made for a test as the items stage makes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msm_ray.evals.protocol import Background, Eval

TINY = Background("llama", "the team", "tinyworld")


def make_items(
    out: Path, how: Eval, background: Background = TINY, *, trained: Iterable[str] = (), written: Iterable[str] = ()
) -> dict[str, int]:
    """trained: domains that chats are about; written: texts of documents."""
    about = Background(background.assistant, background.provider, background.world, domains=tuple(trained))
    return how.items(about).write(out, written)
