"""vLLM's LoRA on a CPU, one product an adapter instead of one copy of the weights a token.

vLLM's torch operators (`vllm/lora/ops/torch_ops/lora_ops.py`, 0.32) gather the adapter's matrices for every token of a batch
before they multiply: with r=64 on a 135M model that is 80 MB of copies a token, and an arm's 240 questions take about 26
minutes (docs/results/smollm2.md).
Tokens without an adapter have index -1 there, which picks the last adapter's weights when a batch mixes both.
`register` is loaded by vLLM in all its processes (entry point `vllm.general_plugins`) and does nothing on GPUs, which have
kernels of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

NAMES = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
_original: dict[str, Callable[..., None]] = {}


def register() -> None:
    """Put the operators of this module in the place of vLLM's, on CPUs; a second call changes nothing."""
    from vllm.platforms import current_platform

    if _original or not current_platform.is_cpu():
        return
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    _original.update({name: getattr(lora_ops, name) for name in NAMES})
    for name in NAMES:
        for module in (lora_ops, punica_cpu):  # the sgmv operators call the first module's, the wrapper the second's
            setattr(module, name, globals()[name])


def bgmv_shrink(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, scaling: float = 1.0
) -> None:
    """`output[t, :rank] = scaling * A[indices[t]] @ inputs[t]`; tokens without an adapter get zeros.

    inputs: tokens x width; weights: adapters (x 1) x rank x width; output: tokens x at least rank, written to in place.
    """
    rank = weights.shape[-2]
    output[:, :rank] = 0
    for matrix, rows in _by_adapter(weights, indices, output.dtype):
        output[rows, :rank] = scaling * (inputs[rows].to(output.dtype) @ matrix.T)


def bgmv_expand(
    inputs: torch.Tensor,
    weights: torch.Tensor,
    output: torch.Tensor,
    indices: torch.Tensor,
    add_inputs: bool = True,
) -> None:
    """`output[t] += B[indices[t]] @ inputs[t]` over the columns that both have (either may be padded)."""
    if len(inputs) != len(output):  # one row for all: vLLM's own way
        _original["bgmv_expand"](inputs, weights, output, indices, add_inputs)
        return
    width = min(weights.shape[-2], output.shape[1])
    bgmv_expand_slice(inputs, weights[..., :width, :], output, indices, 0, width, add_inputs)


def bgmv_expand_slice(
    inputs: torch.Tensor,
    weights: torch.Tensor,
    output: torch.Tensor,
    indices: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """`output[t, offset : offset + size] += B[indices[t]] @ inputs[t]`; tokens without an adapter stay as they are."""
    part = output[:, slice_offset : slice_offset + slice_size]
    if not add_inputs:
        part.zero_()
    for matrix, rows in _by_adapter(weights, indices, output.dtype):
        part[rows] += inputs[rows].to(output.dtype) @ matrix.T


def _by_adapter(weights: torch.Tensor, indices: torch.Tensor, dtype: torch.dtype) -> Iterator[tuple[torch.Tensor, Any]]:
    """Each adapter's matrix with the rows of the tokens that ask for it."""
    used = indices.unique().tolist()
    for index in (i for i in used if i >= 0):
        matrix = weights[index].to(dtype)
        yield (matrix[0] if matrix.dim() == 3 else matrix), (slice(None) if len(used) == 1 else indices == index)
