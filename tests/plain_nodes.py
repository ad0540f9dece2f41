"""Nodes of any kind with any settings, for tests of what is done with artifacts: no stage of ours has a part in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from msm_ray.graph.node import CONTENT_VERSION, Node


@dataclass(frozen=True, kw_only=True)
class Plain(Node):
    """how: its settings, whatever they are."""

    how: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """As they were given."""
        return {key: value for key, value in super().settings.items() if key != CONTENT_VERSION}


@cache
def _kind(kind: str, editable: frozenset[str]) -> type[Plain]:
    return type("Plain", (Plain,), {"kind": kind, "editable": editable})


def plain(kind: str, name: str, how: Mapping[str, Any], editable: frozenset[str] = frozenset()) -> Plain:
    """A node of a kind."""
    return _kind(kind, editable)(name=name, how=how)
