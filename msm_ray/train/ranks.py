"""The processes that train together: who this one is, and how all of them come to one answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from msm_ray.errors import MsmError

Result = TypeVar("Result")


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
    """Run a check on every rank and raise on all of them what the first of them that failed raised.

    A rank that raised alone would leave the others waiting in their next collective call for ever.
    """
    result, error = None, None
    try:
        result = check()
    except MsmError as raised:
        error = raised
    errors: list[MsmError | None] = [None] * dist.get_world_size()
    dist.all_gather_object(errors, error)
    for raised_somewhere in errors:
        if raised_somewhere is not None:
            raise raised_somewhere
    return result  # type: ignore[return-value]


def from_first(make: Callable[[], Any]) -> Any:
    """What rank 0 makes, on every rank; its MsmError too."""
    value = [agree(lambda: make() if dist.get_rank() == 0 else None)]
    dist.broadcast_object_list(value, src=0)
    return value[0]


def total(value: torch.Tensor) -> float:
    """The sum over all ranks of a tensor with one element."""
    dist.all_reduce(value)
    return float(value)
