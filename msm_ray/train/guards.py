"""What is checked before the first step, so that a training that can't be right is never begun."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msm_ray.corpus.blocks import Blocks
from msm_ray.corpus.tokens import tokenizer_digest
from msm_ray.errors import SettingsError, StageError
from msm_ray.models import text_settings
from msm_ray.train.job import Schedule, TrainingJob
from msm_ray.train.settings import LoraSettings

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


def check_job(job: TrainingJob, blocks: Blocks, schedule: Schedule, tokenizer: PreTrainedTokenizerBase) -> None:
    """Blocks against settings, steps and tokenizer. Raises SettingsError or StageError that says what to change."""
    check_blocks(job, blocks, tokenizer)
    steps, least = schedule.steps, job.where.least_steps
    if steps < least:
        raise SettingsError(
            f"{job.name}: {len(blocks)} blocks in batches of {job.settings.batch} give {steps} optimizer steps, fewer than "
            f"least_steps={least}; lower batch, set steps or epochs, or lower least_steps openly"
        )
    if schedule.warmup_steps >= steps:
        raise SettingsError(
            f"{job.name}: the warmup takes {schedule.warmup_steps} of {steps} steps, so the full learning rate is never "
            "reached; lower warmup or train longer"
        )


def check_blocks(job: TrainingJob, blocks: Blocks, tokenizer: PreTrainedTokenizerBase) -> None:
    """Blocks are there, carry loss, and were made for this sequence length and by this tokenizer."""
    if not len(blocks) or not blocks.facts["trained_tokens"]:
        raise StageError(
            f"{job.blocks}: {len(blocks)} blocks without a token to train on; look at their {blocks.facts}"
        )
    made_for, wanted = blocks.facts["sequence_length"], job.settings.sequence_length
    if made_for != wanted:
        raise SettingsError(f"{job.blocks}: packed for sequence_length {made_for}, and the training wants {wanted}")
    if blocks.facts["tokenizer_digest"] != tokenizer_digest(tokenizer):
        raise SettingsError(
            f"{job.blocks}: made with another tokenizer or chat template than {job.weights} has; build the blocks with it"
        )


def checked_model(
    job: TrainingJob,
    blocks: Blocks,
    tokenizer: PreTrainedTokenizerBase,
    load: Callable[[TrainingJob], nn.Module],
) -> nn.Module:
    """Load the model after its configuration has been checked against blocks, tokenizer and parent adapter."""
    config = text_settings(_configuration(job.weights))
    longest, words = config.get("max_position_embeddings"), config.get("vocab_size", 0)
    if longest and job.settings.sequence_length > longest:
        raise SettingsError(
            f"{job.weights}: the model takes {longest} tokens, and sequence_length is {job.settings.sequence_length}"
        )
    highest = max(len(tokenizer) - 1, blocks.facts["highest_id"])
    if highest >= words:
        raise SettingsError(
            f"{job.weights}: the tokenizer has ids up to {highest} and the model knows {words}; they do not belong together"
        )
    if job.parent is not None and job.settings.mode == "lora":
        check_parent(job.parent, job.settings.lora)
    try:
        return load(job)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{job.weights}: the model cannot be loaded ({error})") from error


def check_targets(model: nn.Module, lora: LoraSettings) -> None:
    """Every LoRA target names some module: one that matches nothing would be left out without a word."""
    ends = {name.rpartition(".")[2] for name, module in model.named_modules() if hasattr(module, "weight")}
    missing = sorted(set(lora.targets) - ends)
    if missing:
        raise SettingsError(f"lora.targets: the model has no {', '.join(missing)}; it has {', '.join(sorted(ends))}")


def check_parent(parent: Path, lora: LoraSettings) -> None:
    """The adapter that is continued has the shape that the settings ask for."""
    adapter = _configuration(parent, "adapter_config.json")
    there = (adapter.get("r"), adapter.get("lora_alpha"), sorted(adapter.get("target_modules") or ()))
    if there != (lora.r, lora.alpha, sorted(lora.targets)):
        raise SettingsError(
            f"{parent}: an adapter with r, alpha, targets {there} cannot be continued with {lora.r}, {lora.alpha}, "
            f"{sorted(lora.targets)}; give both trainings the same lora settings"
        )


def _configuration(folder: Path, name: str = "config.json") -> dict:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{folder}: no model folder, its {name} cannot be read ({error})") from None
