"""From a trained engine to a Hugging Face folder or a PEFT adapter, reloaded and compared before it counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from msm_ray.artifacts import write_whole
from msm_ray.errors import StageError
from msm_ray.train import ranks
from msm_ray.train.batches import MicroBatch
from msm_ray.train.job import TrainingJob
from msm_ray.train.model import DTYPE

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOLERANCE = {"fp32": 1e-4, "bf16": 0.25}
"""Largest difference of a logit between the trained engine and the reloaded export (bf16 rounds each to 2-3 digits)."""

State = dict[str, torch.Tensor]


def export(
    engine: DeepSpeedEngine,
    job: TrainingJob,
    tokenizer: PreTrainedTokenizerBase,
    counts: Mapping[str, Any],
    probe: MicroBatch,
) -> None:
    """Write `job.exported` whole: weights, tokenizer with chat template, generation config, model card. On all ranks.

    Raises StageError on all ranks when the reloaded weights answer otherwise than the trained ones, or an adapter
    changes nothing.
    """
    engine.eval()
    with torch.no_grad():
        trained = _logits(engine, probe)
    state = gathered(engine.module, trained_only=job.settings.mode == "lora")
    ranks.from_first(lambda: _write(engine.module, job, tokenizer, counts, state))
    ranks.from_first(lambda: check(job, probe, trained))


def gathered(model: torch.nn.Module, *, trained_only: bool) -> State:
    """All parameters (or those with gradients) whole, on rank 0's CPU; ZeRO-3 keeps each of them in parts. On all ranks.

    One parameter is gathered at a time, so that no rank ever holds a second model.
    """
    import deepspeed

    state = {}
    for name, parameter in model.named_parameters():
        if trained_only and not parameter.requires_grad:
            continue
        with deepspeed.zero.GatheredParameters([parameter]):
            if dist.get_rank() == 0:
                state[name] = parameter.detach().cpu().clone()
    return state


def check(job: TrainingJob, probe: MicroBatch, trained: torch.Tensor) -> None:
    """Reload the export as a user would and compare its logits on the probe; an adapter has to change them.

    trained: logits of the trained engine, (1, tokens, vocabulary). Raises StageError.
    """
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
            job.exported if job.settings.mode == "full" else job.base,
            dtype=DTYPE[job.settings.precision],
            local_files_only=True,
        )
        model = model.to(probe.ids.device)
        if job.settings.mode == "lora":
            from peft import PeftModel

            before = _logits(model.eval(), probe)
            model = PeftModel.from_pretrained(model, job.exported)
        reloaded = _logits(model.eval(), probe)
    off = float((reloaded - trained).abs().max())
    if not off <= TOLERANCE[job.settings.precision]:  # not a number is not below it either
        raise StageError(f"{job.exported}: reloaded weights differ from the trained ones by {off:.3g} in a logit")
    if job.settings.mode == "lora" and torch.equal(before, reloaded):
        raise StageError(f"{job.exported}: the adapter changes nothing; look at learning_rate, steps and lora.targets")


def model_card(job: TrainingJob, counts: Mapping[str, Any]) -> str:
    """The README of the exported folder: what it is, what it was made of, how the training went."""
    settings = json.dumps(job.settings.content(), indent=1)
    facts = {
        "base": _artifact(job.base),
        "continued from": _artifact(job.parent) if job.parent else "the base",
        "data": _artifact(job.blocks / "blocks.arrow"),
        "seed": job.seed,
    }
    rows = {**facts, **job.facts, **counts}
    table = "\n".join(f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items())
    library = "peft" if job.settings.mode == "lora" else "transformers"
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: text-generation\n---\n# {job.name}\n\nTrained by msm_ray.\n\n"
        f"| | |\n|---|---|\n{table}\n\n## Settings\n\n```json\n{settings}\n```\n"
    )


def _logits(model: torch.nn.Module, probe: MicroBatch) -> torch.Tensor:
    return model(input_ids=probe.ids, position_ids=probe.positions, use_cache=False).logits.float()


def _write(
    model: PreTrainedModel,
    job: TrainingJob,
    tokenizer: PreTrainedTokenizerBase,
    counts: Mapping[str, Any],
    state: State,
) -> None:
    partial = job.exported.with_suffix(".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if job.settings.mode == "lora":
        _save_adapter(model, partial, state)
    else:
        model.save_pretrained(partial, state_dict=dict(_untied(model, state)))
    tokenizer.save_pretrained(partial)
    for folder in (partial, job.out):
        write_whole(folder / "README.md", model_card(job, counts))
    shutil.rmtree(job.exported, ignore_errors=True)
    partial.rename(job.exported)


def _untied(model: PreTrainedModel, state: State) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights that are written: a tied one has one name in the file."""
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    for name, value in state.items():
        if name not in tied:
            yield name, value.contiguous()


def _save_adapter(model: PreTrainedModel, folder: Path, state: State) -> None:
    model.save_pretrained(folder, state_dict=state)
    # PEFT keeps the targets as a set, whose order differs from process to process.
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    write_whole(path, json.dumps(config, indent=2, sort_keys=True))


def _artifact(inside: Path) -> str:
    """`midtrain/x-s0@1` for a folder or file inside that artifact: a card names no machine's folders."""
    return "/".join(inside.parent.parts[-2:])
