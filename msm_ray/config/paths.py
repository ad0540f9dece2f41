"""What may stand at a path of an experiment file: its types, the keys beside it, and where it is inherited from or to."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from msm_ray.config import ExperimentSettings
from msm_ray.generate.writer_settings import WriterSettings
from msm_ray.yaml_tree import At


def dotted(at: At) -> str:
    """`("aft", "lora", "r")` as `aft.lora.r`."""
    return ".".join(map(str, at))


def inherited_from(at: At) -> list[At]:
    """What a corpus does not say is said by `documents`, what that does not by `writer`, what a group does not say by `aft`.

    The nearest first.
    """
    if at[:1] == ("corpora",) and len(at) > 2:
        above: At = ("documents", *at[2:])
        return [above, *inherited_from(above)]
    if at[:1] == ("documents",) and len(at) > 1 and at[1] in WriterSettings.inherited:
        return [("writer", *at[1:])]
    return [at[2:]] if at[:1] == ("groups",) and len(at) > 3 else []


def heirs_of(tree: dict, at: At) -> list[At]:
    """Where a setting of `writer`, `documents` or `aft` is inherited to; the other way round than `inherited_from`."""
    corpora, groups = tree.get("corpora") or {}, tree.get("groups") or {}
    of_documents: list[At] = [("corpora", name) for name in corpora]
    heirs: dict[str, list[At]] = {
        "writer": [("documents",), *of_documents],
        "documents": of_documents,
        "aft": [("groups", name, "aft") for name in groups],
    }
    return [(*heir, *at[1:]) for heir in heirs.get(str(at[0]), [])] if len(at) > 1 else []


def known_keys(at: At) -> list[str]:
    """The keys that the settings at a path may have."""
    names = {name for kind in kinds_at(at) if is_model(kind) for name in kind.model_fields}
    return sorted(names)


def moved_key(at: At) -> str:
    """What says the same as a key that is gone (`moved` of its section); "" where there never was one."""
    gone = [getattr(kind, "moved", {}) for kind in kinds_at(at[:-1])]
    return next((each[str(at[-1])] for each in gone if at[-1] in each), "")


def nearest_key(at: At) -> str | None:
    """The key that a misspelt one is likely to mean."""
    near = difflib.get_close_matches(str(at[-1]), known_keys(at[:-1]), n=1, cutoff=0.5)
    return near[0] if near else None


def kinds_at(at: Sequence[str | int]) -> list[Any]:
    """The types that the setting at a path may have; none where there is no such setting."""
    kinds: list[Any] = [ExperimentSettings]
    for key in at:
        kinds = [inner for kind in kinds for inner in _inner(kind, key)]
    return kinds


def is_text(kinds: Sequence[Any]) -> bool:
    """Whether a setting of these types holds a text and nothing else."""
    return bool(kinds) and all(kind in (str, type(None)) for kind in kinds)


def _inner(kind: Any, key: str | int) -> list[Any]:
    """The types found under `key` of a settings class, a dict or a tuple."""
    if is_model(kind):
        field = kind.model_fields.get(key)
        return _members(field.annotation) if field else []
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) in (dict, tuple) and arguments:
        return _members(arguments[1] if typing.get_origin(kind) is dict else arguments[0])
    return []


def _members(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for part in typing.get_args(annotation) for inner in _members(part)]
    return [annotation]


def is_model(kind: Any) -> bool:
    """Whether a type is a class of settings."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
