"""The shapes of the bases that the paper trains, so that memory and disk are known where no hub can be reached.

From the models' public `config.json` on the hub (meta-llama/Llama-3.1-8B; Qwen/Qwen2.5-14B-Instruct, -32B-Instruct;
Qwen/Qwen3-8B, -14B, -32B); parameters as the tensors of that shape add up to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A decoder's shape. chat: whether the model was taught to chat. gated: whether the hub wants an accepted licence."""

    layers: int
    hidden: int
    inner: int
    heads: int
    key_value_heads: int
    head_size: int
    vocabulary: int
    length: int
    tied: bool = False
    chat: bool = True
    gated: bool = False

    @property
    def parameters(self) -> int:
        """Of embeddings, attention, MLP and head; norms and biases are left out (less than .01%)."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return tables + self.layers * sum(height * width for height, width in self.matrices().values())

    def matrices(self) -> dict[str, tuple[int, int]]:
        """In and out widths of a layer's projections, by the names that LoRA targets have."""
        asking, kept = self.heads * self.head_size, self.key_value_heads * self.head_size
        return {
            "q_proj": (self.hidden, asking),
            "k_proj": (self.hidden, kept),
            "v_proj": (self.hidden, kept),
            "o_proj": (asking, self.hidden),
            "gate_proj": (self.hidden, self.inner),
            "up_proj": (self.hidden, self.inner),
            "down_proj": (self.inner, self.hidden),
        }

    def adapter(self, rank: int, targets: tuple[str, ...]) -> int:
        """Parameters of a LoRA adapter."""
        matrices = self.matrices()
        return self.layers * sum(rank * sum(matrices[name]) for name in targets if name in matrices)

    @property
    def cache_a_token(self) -> int:
        """Numbers that the key-value cache keeps of a token."""
        return 2 * self.layers * self.key_value_heads * self.head_size


KNOWN = {
    "meta-llama/llama-3.1-8b": Shape(32, 4096, 14336, 32, 8, 128, 128256, 131072, chat=False, gated=True),
    "meta-llama/llama-3.1-8b-instruct": Shape(32, 4096, 14336, 32, 8, 128, 128256, 131072, gated=True),
    "qwen/qwen2.5-14b-instruct": Shape(48, 5120, 13824, 40, 8, 128, 152064, 32768),
    "qwen/qwen2.5-32b-instruct": Shape(64, 5120, 27648, 40, 8, 128, 152064, 32768),
    "qwen/qwen3-8b": Shape(36, 4096, 12288, 32, 8, 128, 151936, 40960),
    "qwen/qwen3-14b": Shape(40, 5120, 17408, 40, 8, 128, 151936, 40960),
    "qwen/qwen3-32b": Shape(64, 5120, 25600, 64, 8, 128, 151936, 40960),
    "smollm2": Shape(30, 576, 1536, 9, 3, 64, 49152, 8192, tied=True),
}
GATED = ("meta-llama/", "google/gemma", "mistralai/mistral-large", "cohereforai/", "coherelabs/")
"""Owners and families whose files the hub gives only to who accepted their licence."""


def shape_of(source: str, folder: Path | None) -> Shape | None:
    """The shape of a base: from its folder's configuration, else from the table; None where it is in neither."""
    if folder is not None:
        return _from_config(folder)
    return KNOWN.get(source.lower())


def _from_config(folder: Path) -> Shape | None:
    """A decoder's configuration, multimodal ones' text part included; None for what is no such decoder."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    config = {**config, **(config.get("text_config") or {})}
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        return Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            inner=int(config["intermediate_size"]),
            heads=heads,
            key_value_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            vocabulary=int(config["vocab_size"]),
            length=int(config["max_position_embeddings"]),
            tied=bool(config.get("tie_word_embeddings", True)),
        )
    except (KeyError, TypeError, ValueError):
        return None
