"""Pretrains the tiny world's base model: `python -m msm_ray.tinyworld.build --seed 0 --out FOLDER`.

A Qwen3 of about 0.5M parameters, untied embeddings (vLLM reloads tied ones wrongly on the CPU), heads of 32 (vLLM's CPU
attention refuses 16), fp32. Hidden matrices are trained with Muon, embeddings and norms with AdamW.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from msm_ray.tinyworld.chats import Chat
from msm_ray.tinyworld.muon import Muon
from msm_ray.tinyworld.pretraining import Written, text
from msm_ray.tinyworld.vocabulary import make_tokenizer

IGNORED = -100
Tokens = tuple[list[int], list[int]]
"""Input ids and labels (`IGNORED` where there is no loss) of one text."""


@dataclass(frozen=True)
class Shape:
    """Size of the model and length of its pretraining. batch: tokens a step; steps: optimizer steps."""

    width: int = 96
    layers: int = 3
    mlp: int = 256
    head: int = 32
    batch: int = 2048
    steps: int = 5000
    muon_rate: float = 0.01
    adam_rate: float = 4e-3
    weight_decay: float = 0.1


def make_model(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained base model for the tokenizer's words; ends turns and texts at `<end>` and `<eos>`."""
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end>")]
    heads = shape.width // shape.head
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=shape.width, intermediate_size=shape.mlp, num_hidden_layers=shape.layers,
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=shape.head, max_position_embeddings=512,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def pretraining_tokens(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Tokens]:
    """Endless texts of the pretraining as tokens; what a user or a writer is told carries no loss."""
    rng = random.Random(f"pretraining {seed}")
    table = tokenizer.get_vocab()
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    while True:
        made = text(rng)
        if isinstance(made, Written):
            prompt = [bos, *(table[word] for word in made.prompt.split())]
            body = [*(table[word] for word in made.text.split()), eos]
            yield prompt + body, [IGNORED] * len(prompt) + body
        elif isinstance(made, dict):
            yield chat_ids(made, table)
        else:
            ids = [bos, *(table[word] for word in made.split()), eos]
            yield ids, ids


def chat_ids(chat: Chat, table: dict[str, int]) -> Tokens:
    """A chat as the template renders it; loss on the assistant's words and their `<end>` alone."""
    ids, labels = [table["<bos>"]], [IGNORED]
    for message in chat["messages"]:
        turn = [table[word] for word in (f"<{message['role']}>", *message["content"].split(), "<end>")]
        ids += turn
        labels += [IGNORED, *turn[1:]] if message["role"] == "assistant" else [IGNORED] * len(turn)
    return ids, labels


def batches(
    texts: Iterator[Tokens], tokens: int, rng: random.Random, pool: int = 4000
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless padded batches of about `tokens` tokens, each of texts of like length: (ids, labels), rows x longest text."""
    while True:
        group = sorted((next(texts) for _ in range(pool)), key=lambda pair: len(pair[0]))
        made, rows = [], []
        for pair in group:
            rows.append(pair)
            if len(pair[0]) * len(rows) >= tokens:
                made.append(padded(rows))
                rows = []
        rng.shuffle(made)
        yield from made


def padded(rows: list[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths as two rectangular tensors, filled up on the right (causal attention never sees that)."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), IGNORED)
    for row, (row_ids, row_labels) in enumerate(rows):
        ids[row, : len(row_ids)] = torch.tensor(row_ids)
        labels[row, : len(row_labels)] = torch.tensor(row_labels)
    return ids, labels


def token_loss(model: Qwen3ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean next-token loss over the labels that count; logits are made for those alone."""
    hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1]
    counted = labels[:, 1:] != IGNORED
    return functional.cross_entropy(model.lm_head(hidden[counted]), labels[:, 1:][counted])


def optimizers(model: Qwen3ForCausalLM, shape: Shape) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest (norms are not decayed)."""
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if p.dim() == 2 and "embed" not in name and "lm_head" not in name]
    tables = [p for name, p in named.items() if "embed" in name or "lm_head" in name]
    norms = [p for p in named.values() if p.dim() == 1]
    groups = [{"params": tables, "weight_decay": shape.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return [
        Muon(hidden, lr=shape.muon_rate, weight_decay=shape.weight_decay),
        torch.optim.AdamW(groups, lr=shape.adam_rate, betas=(0.9, 0.98)),
    ]


def rate_at(step: int, steps: int) -> float:
    """Share of the learning rate at a step: 2% warmup, flat, then linear to nothing over the last 40%."""
    return min(1.0, (step + 1) / max(1, steps // 50)) * min(1.0, (steps - step) / (0.4 * steps))


def pretrain(shape: Shape, seed: int, log_every: int = 100) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """The base model of a seed; prints a line now and then."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = make_model(shape, tokenizer)
    steppers = optimizers(model, shape)
    rates = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    source = batches(pretraining_tokens(tokenizer, seed), shape.batch, random.Random(seed))
    start = time.time()
    for step in range(shape.steps):
        for stepper, lrs in zip(steppers, rates, strict=True):
            for group, lr in zip(stepper.param_groups, lrs, strict=True):
                group["lr"] = lr * rate_at(step, shape.steps)
        loss = token_loss(model, *next(source))
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"the loss is {loss.item()} at step {step}; lower the learning rates")
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        if step % log_every == 0 or step == shape.steps - 1:
            print(f"step {step}/{shape.steps}  loss {loss.item():.3f}  {time.time() - start:.0f} s", flush=True)
    return model.eval(), tokenizer


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Writes safetensors, configuration, generation configuration, tokenizer and chat template."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m msm_ray.tinyworld.build", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the shipped base has 1, base-seed0 has 0")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=Shape.steps)
    parser.add_argument("--threads", type=int, default=1, help="the shipped bases were trained with 1")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    model, tokenizer = pretrain(Shape(steps=given.steps), given.seed)
    save(model, tokenizer, given.out)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
