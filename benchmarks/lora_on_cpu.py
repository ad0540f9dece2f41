"""LoRA on a CPU engine, our operators against vLLM's: `python -m benchmarks.lora_on_cpu [--json]`.

One layer's worth of SmolLM2-135M at rank 64 (its widest projection, 576 to 1536): shrink and expand of a prefill of 2,560 tokens
(32 prompts of 80) and of a decoding step of 32 tokens, all with one adapter, as arms are asked one by one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from vllm.lora.ops.torch_ops import lora_ops

from benchmarks.measurements import Measurement, show
from msm_ray.serve import lora_on_cpu

RANK, WIDE, NARROW = 64, 1536, 576


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lora_on_cpu", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for what, tokens in (("prefill, 2,560 tokens", 2560), ("decoding, 32 tokens", 32)):
        theirs = _seconds(lora_ops.bgmv_shrink, lora_ops.bgmv_expand_slice, tokens)
        ours = _seconds(lora_on_cpu.bgmv_shrink, lora_on_cpu.bgmv_expand_slice, tokens)
        rows.append(Measurement(f"{what}: times faster", theirs / ours, "x", 5 if tokens > 32 else None, "higher"))
    show("LoRA on a CPU engine", rows)


def _seconds(shrink: Callable[..., None], expand: Callable[..., None], tokens: int, repeats: int = 3) -> float:
    """The shortest of some runs of both operators."""
    a, b = torch.randn(3, 1, RANK, NARROW), torch.randn(3, 1, WIDE, RANK)
    inputs, small, out = torch.randn(tokens, NARROW), torch.zeros(tokens, RANK), torch.zeros(tokens, WIDE)
    indices = torch.zeros(tokens, dtype=torch.long)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        shrink(inputs, a, small, indices, 2.0)
        expand(small, b, out, indices, 0, WIDE, True)
        best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    main()
