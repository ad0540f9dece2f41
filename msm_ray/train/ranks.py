"""The processes that train together: who this one is, and how all of them come to one answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from msm_ray.errors import MsmError

Result = TypeVar("Result")
_EVERYWHERE = "raised on all ranks"


def join() -> None:
    """Make sure that there is a process group: Ray Train's, torchrun's, or one of this process alone."""
    if dist.is_initialized():
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed insists on it
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)


def agree(check: Callable[[], Result]) -> Result:
    """Run a check on every rank and raise on all of them at once where it failed on some: the first one's MsmError.

    A rank that raised alone would leave the others waiting in their next collective call. An error that is none of ours
    is raised by the rank that met it, and as a RuntimeError that names it by the others.
    """
    result, error = None, None
    try:
        result = check()
    except Exception as raised:
        error = raised
    met = everyones(error if isinstance(error, MsmError) or error is None else f"{type(error).__name__}: {error}")
    for ours in met:
        if isinstance(ours, MsmError):
            raise everywhere(ours)
    if error is not None:
        raise error
    for rank, foreign in enumerate(met):
        if foreign is not None:
            raise RuntimeError(f"rank {rank} failed: {foreign}")
    return result  # type: ignore[return-value]


def everywhere(error: MsmError) -> MsmError:
    """Mark an error that every rank raises at this point, so that none waits for another and the group can go on."""
    error.add_note(_EVERYWHERE)
    return error


def is_everywhere(error: MsmError) -> bool:
    """Whether every rank raised this error: else some wait for this one, and only the end of all processes helps."""
    return _EVERYWHERE in getattr(error, "__notes__", ())


def everyones(value: Any) -> list[Any]:
    """What each rank gives, in the order of ranks, on all of them."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], Any]) -> Any:
    """What rank 0 makes, on every rank; its MsmError too."""
    value = [agree(lambda: make() if dist.get_rank() == 0 else None)]
    dist.broadcast_object_list(value, src=0)
    return value[0]


def total(value: torch.Tensor) -> float:
    """The sum over all ranks of a tensor with one element."""
    dist.all_reduce(value)
    return float(value)
