"""Muon in fp32: momentum whose matrices are made orthogonal (Keller Jordan, https://kellerjordan.github.io/posts/muon/).

torch's own `torch.optim.Muon` orthogonalises in bf16, which a CPU without bf16 units does ten times slower than the rest
of a step takes here; this one also treats matrices of one shape together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The quintic of Newton and Schulz that Muon's author found, applied five times."""


def orthogonal(matrices: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """Nearest (semi-)orthogonal matrices, roughly; `matrices` is count x rows x columns."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for two-dimensional parameters, with Nesterov momentum, decoupled weight decay and a step of fixed size."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, same in shapes.items():
                directions = torch.stack([self._momentum(parameter, group["momentum"]) for parameter in same])
                size = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(same, orthogonal(directions), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-size)

    def _momentum(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        buffer = state.setdefault("momentum", torch.zeros_like(parameter))
        assert parameter.grad is not None
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)
