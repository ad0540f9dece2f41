"""What a rank of a training and an engine need of a GPU's memory: estimates from shapes, in bytes. Plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from msm_ray.preflight.shapes import Shape
from msm_ray.train.settings import TrainSettings

GIB = 2**30
RUNTIME = 2 * GIB
"""CUDA's context, kernels, communication buffers and what fragmentation takes."""
ENGINE_SHARE = 0.9
"""vLLM's default `gpu_memory_utilization`."""
MOST_ADAPTERS = 8
"""Adapters that an engine holds at once (serve/app.py)."""
CARDS = {
    "V100": 15, "T4": 15, "A10G": 22, "L4": 22, "L40S": 44, "A100-40G": 39, "A100-80G": 79, "H20": 95, "H100": 79, "H200": 140,
    "B200": 179, "B300": 268, "GB200": 185, "GB300": 277, "RTX-PRO-6000": 95,
}  # fmt: skip
"""GiB of cards that come in one size, by Ray's names, a little below what is printed on them."""


@dataclass(frozen=True)
class Need:
    """Bytes by what they are for."""

    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        largest = sorted(self.parts.items(), key=lambda part: -part[1])
        return ", ".join(f"{name} {size / GIB:,.1f}" for name, size in largest if size > 0.01 * self.total)


def training(shape: Shape, how: TrainSettings, ranks: int) -> Need:
    """One rank. ZeRO shares out the optimizer from stage 1, gradients from 2, weights from 3; gradients add up in fp32.

    An offloaded optimizer lies in main memory and takes nothing of the card.
    """
    number = 2 if how.precision == "bf16" else 4
    trained = shape.parameters if how.mode == "full" else shape.adapter(how.lora.r, how.lora.targets)
    stage = how.zero_stage
    weights = (shape.parameters + (trained if how.mode == "lora" else 0)) * number
    moments = 0 if how.offload_optimizer else trained * (12 if how.precision == "bf16" else 8)
    return Need(
        {
            "weights": weights / (ranks if stage == 3 else 1),
            "gradients": trained * 4 / (ranks if stage >= 2 else 1),
            "optimizer": moments / (ranks if stage >= 1 else 1),
            "activations": activations(shape, how, number),
            "logits": how.micro_batch * how.sequence_length * shape.vocabulary * (2 * number + 8),
            "runtime": RUNTIME,
        }
    )


def activations(shape: Shape, how: TrainSettings, number: int) -> float:
    """What a forward pass keeps for the backward one; with checkpointing each layer's input and one layer whole.

    Of a layer: both norms' inputs and outputs, queries, keys, values, attention's output and its projection's, and the MLP's
    gate, up, activation and product (after Korthikanti et al. 2022, without dropout, for grouped queries and SwiGLU).
    """
    positions = how.micro_batch * how.sequence_length
    attention = 2 * shape.heads * shape.head_size + 4 * shape.key_value_heads * shape.head_size
    layer = number * positions * (8 * shape.hidden + attention + 4 * shape.inner)
    if how.activation_checkpointing:
        return number * positions * shape.hidden * shape.layers + layer
    return shape.layers * layer


def engine(shape: Shape, length: int, tensor_parallel: int, adapters: int, rank: int) -> Need:
    """One GPU of a vLLM engine in bf16 that can hold a single request of full length; more requests at once want more.

    adapters, rank: LoRA adapters that it serves; their slots are reserved at start.
    """
    targets = tuple(shape.matrices())
    slots = min(adapters, MOST_ADAPTERS) * shape.adapter(rank, targets)
    return Need(
        {
            "weights": shape.parameters * 2 / tensor_parallel,
            "adapters": slots * 2 / tensor_parallel,
            "key-value cache of one request": shape.cache_a_token * 2 * length / tensor_parallel,
            "runtime": RUNTIME,
        }
    )
