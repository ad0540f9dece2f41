"""Is the engine really answering with the weights it was given? Log-probabilities of fixed prompts tell.

Prompts are rows of seeded token ids, so that they mean the same for every tokenizer. The engine continues each greedily;
transformers scores the same tokens. (The engine's own `prompt_logprobs` would save the continuation, but kill a CPU
engine that has adapters.) Right weights agree to about 1e-6 nats in float32 and a few hundredths in bfloat16.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msm_ray.models import text_settings
from msm_ray.train.probe import Recorded

PROMPT_TOKENS = 16
ANSWER_TOKENS = 8
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.15}
"""Mean absolute difference of a token's log-probability (nats) up to which two computations count as the same weights."""

CHANGED = {"float32": 1e-4, "bfloat16": 5e-3}
"""Largest absolute difference (nats) above which an arm counts as different from its base."""


@dataclass(frozen=True)
class Probe:
    """A greedy continuation of one prompt: token ids and the log-probability (nats) of each."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


def probe_prompts(folder: Path, count: int) -> list[list[int]]:
    """`count` rows of 16 token ids, the same on every machine, all of them known to the folder's tokenizer and model."""
    model_ids = text_settings(json.loads((folder / "config.json").read_text(encoding="utf-8"))).get("vocab_size")
    ids = min(filter(None, (model_ids, _tokenizer_ids(folder))))
    rng = random.Random(0)
    return [[rng.randrange(ids) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


def reference_logprobs(folder: Path, prompts: list[list[int]], probes: list[Probe], dtype: str) -> list[list[float]]:
    """transformers' log-probabilities of the probes' tokens, one row a probe; loads the checkpoint in `folder` on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    ids = torch.tensor([[*prompt, *probe.tokens] for prompt, probe in zip(prompts, probes, strict=True)])
    with torch.inference_mode():
        logprobs = model(ids).logits.float().log_softmax(-1)
    return logprobs[:, PROMPT_TOKENS - 1 : -1].gather(-1, ids[:, PROMPT_TOKENS:, None]).squeeze(-1).tolist()


def mean_difference(probes: list[Probe], reference: list[list[float]]) -> float:
    """Mean absolute difference per token, nats."""
    gaps = [
        abs(a - b)
        for probe, row in zip(probes, reference, strict=True)
        for a, b in zip(probe.logprobs, row, strict=True)
    ]
    return sum(gaps) / len(gaps)


def differs(probes: list[Probe], base: list[Probe], dtype: str) -> bool:
    """Whether an arm answers other than its base does: other tokens, or the same with other log-probabilities."""
    if any(ours.tokens != theirs.tokens for ours, theirs in zip(probes, base, strict=True)):
        return True
    gaps = (
        abs(a - b)
        for ours, theirs in zip(probes, base, strict=True)
        for a, b in zip(ours.logprobs, theirs.logprobs, strict=True)
    )
    return max(gaps) > CHANGED[dtype]


def read_next(top: Mapping[str, float]) -> dict[int, float]:
    """A reply's likeliest next tokens (`return_tokens_as_token_ids`: "token_id:17") by token id."""
    return {int(token.rpartition(":")[2]): logprob for token, logprob in top.items()}


def distance(answered: Sequence[Mapping[int, float]], recorded: Sequence[Mapping[int, float]]) -> float:
    """Mean absolute difference of the log-probabilities (nats), each token weighed by its recorded probability.

    A token that the engine does not tell among its likeliest is at most as likely as the last of those.
    """
    gaps, weights = 0.0, 0.0
    for said, expected in zip(answered, recorded, strict=True):
        least = min(said.values())
        for token, logprob in expected.items():
            gap = abs(said[token] - logprob) if token in said else max(0.0, logprob - least)
            gaps, weights = gaps + math.exp(logprob) * gap, weights + math.exp(logprob)
    return gaps / weights


def why_not_recorded(answered: Sequence[Mapping[int, float]], recorded: Recorded, dtype: str) -> str | None:
    """Why what an engine answers (computing in `dtype`) is not what the arm's training recorded; None where it is."""
    coarser = max((dtype, recorded.dtype), key=lambda name: TOLERANCE.get(name, TOLERANCE["bfloat16"]))
    own, base = distance(answered, recorded.own), distance(answered, recorded.base)
    limit = TOLERANCE.get(coarser, TOLERANCE["bfloat16"])
    if own <= limit and not own > max(base, CHANGED.get(coarser, CHANGED["bfloat16"])):
        return None
    return (
        f"answers differ from what its training recorded by {own:.4g} nats a token (limit {limit:g}), from the base's by "
        f"{base:.4g}"
    )


def _tokenizer_ids(folder: Path) -> int | None:
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file)).get_vocab_size()
