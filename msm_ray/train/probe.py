"""Beside the weights of an arm lies `probe.json`: what it says next after a few prompts.

It is for whoever serves the arm and wants to know whether these very weights answer::

    {"dtype": "bfloat16",                      # in which it was computed, on the training's device
     "prompts": [[17, 4, ...], ...],           # up to 8 rows of up to 16 token ids, no special tokens to be added
     "next": [{"tokens": [9, 3, ...],          # after each prompt: the most probable next tokens, at most 20
               "logprobs": [-0.1, -2.5, ...],  # their log-probabilities, nats
               "base": [-4.1, -1.9, ...]},     # those of the same tokens by the base without the adapter; full: null
              ...]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

PROBE = "probe.json"
MOST_LIKELY = 20
"""Next tokens that are recorded after each prompt; vLLM tells no more by default."""


@dataclass(frozen=True)
class Recorded:
    """What a trained arm said next after some prompts, as its training computed it.

    prompts: rows of token ids; own, base: for each, log-probability (nats) of the likeliest next tokens by token id, by the
    trained arm and by the base alone; dtype: in which they were computed.
    """

    dtype: str
    prompts: list[list[int]]
    own: list[dict[int, float]]
    base: list[dict[int, float]]


def read_recorded(adapter: Path) -> Recorded | None:
    """What the training of an adapter recorded of it; None for an adapter of other makers. Raises ValueError, KeyError."""
    file = adapter.parent / PROBE
    if not file.is_file():
        return None
    said = json.loads(file.read_text(encoding="utf-8"))
    own = [dict(zip(row["tokens"], row["logprobs"], strict=True)) for row in said["next"]]
    base = [dict(zip(row["tokens"], row["base"], strict=True)) for row in said["next"]]
    return Recorded(said["dtype"], said["prompts"], own, base)
