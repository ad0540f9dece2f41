"""From a trained engine to a Hugging Face folder or a PEFT adapter that is read back and compared before it counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from msm_ray.errors import StageError
from msm_ray.train import loading, ranks
from msm_ray.train.batches import MicroBatch
from msm_ray.train.job import TrainingJob
from msm_ray.train.model import DTYPE
from msm_ray.train.probe import MOST_LIKELY, PROBE
from msm_ray.whole_files import write_whole

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOLERANCE = 1e-3
"""Largest difference of a logit between the trained adapter and the exported one on the same base, in the same dtype."""

State = dict[str, torch.Tensor]


def export(
    engine: DeepSpeedEngine,
    job: TrainingJob,
    tokenizer: PreTrainedTokenizerBase,
    counts: Mapping[str, Any],
    probe: MicroBatch,
) -> None:
    """Write `job.exported` whole: weights, tokenizer with chat template, generation config, model card. On all ranks.

    Raises StageError on all ranks when a written tensor is not the trained one bit for bit, or an adapter, read back
    onto the base that is in memory, answers otherwise than the trained one or changes nothing.
    """
    model = engine.module.eval()
    lora = job.settings.mode == "lora"
    with torch.no_grad():
        trained = _logits(model, probe)
    state = gathered(model, trained_only=lora)
    partial = job.exported.with_suffix(".tmp")
    ranks.from_first(lambda: _write(model, job, tokenizer, counts, state, partial))
    base = _checked_adapter(model, partial, probe, trained) if lora else None
    if dist.get_rank() == 0:
        write_whole(job.out / PROBE, json.dumps(answers(probe.ids, trained, base, job.settings.precision)))
    ranks.from_first(lambda: _put_in_place(partial, job.exported))


def gathered(model: torch.nn.Module, *, trained_only: bool) -> State:
    """All parameters and saved buffers (or the parameters with gradients) whole, on rank 0's CPU. On all ranks.

    ZeRO-3 keeps each parameter in parts; one at a time is gathered, so that no rank ever holds a second model.
    """
    import deepspeed

    state = {}
    for name, parameter in model.named_parameters():
        if trained_only and not parameter.requires_grad:
            continue
        with deepspeed.zero.GatheredParameters([parameter]):
            if dist.get_rank() == 0:
                state[name] = parameter.detach().cpu().clone()
    if not trained_only and dist.get_rank() == 0:
        saved = model.state_dict().keys()
        state |= {name: buffer.detach().cpu().clone() for name, buffer in model.named_buffers() if name in saved}
    return state


def answers(ids: torch.Tensor, logits: torch.Tensor, base: torch.Tensor | None, precision: str) -> dict[str, Any]:
    """What `probe.json` holds (see `train.probe`).

    ids: (prompts, tokens); logits, and those of the base without adapter: (prompts, tokens, words).
    """
    said = logits[:, -1].log_softmax(-1)
    logprobs, tokens = said.topk(min(MOST_LIKELY, said.shape[-1]))
    without = None if base is None else base[:, -1].log_softmax(-1).gather(-1, tokens)
    rows = []
    for row in range(len(ids)):
        numbers = [None if of is None else [round(x, 6) for x in of[row].tolist()] for of in (logprobs, without)]
        rows.append({"tokens": tokens[row].tolist(), "logprobs": numbers[0], "base": numbers[1]})
    return {"dtype": str(DTYPE[precision]).removeprefix("torch."), "prompts": ids.tolist(), "next": rows}


def check_tensors(folder: Path, trained: State) -> None:
    """Read a folder's safetensors and compare them bit for bit with what was trained. Raises StageError."""
    from safetensors import safe_open

    missing = set(trained)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as written:
            for name in written.keys():  # noqa: SIM118  safe_open is no mapping
                if name not in trained or not _same_bits(written.get_tensor(name), trained[name]):
                    raise StageError(f"{file}: {name} is not what was trained; look at the disk and export it again")
                missing.discard(name)
    if missing:
        raise StageError(f"{folder}: {', '.join(sorted(missing)[:3])} of {len(missing)} tensors were not written")


def write_cards(job: TrainingJob, counts: Mapping[str, Any], exported: Path) -> None:
    """A card in the artifact's folder and one in `exported`, the folder that people take away, each with its own paths."""
    base = f"{_artifact(job.base)}/{job.base.name}"
    # An artifact lies two folders below the root, what is exported three.
    for folder, here, up in ((job.out, job.exported.name, "../.."), (exported, ".", "../../..")):
        code = loading.lines(here, f"{up}/{base}" if job.settings.mode == "lora" else None)
        write_whole(folder / "README.md", model_card(job, counts, code))


def model_card(job: TrainingJob, counts: Mapping[str, Any], code: Sequence[str]) -> str:
    """The README of the exported folder: what it is, how it is loaded, what it was made of, how the training went.

    code: the lines of Python that load it. It names no folder of this machine: what is hashed is the same everywhere.
    """
    settings = json.dumps(job.settings.content(), indent=1)
    facts = {
        "base": " ".join(filter(None, (_artifact(job.base), f"({job.base_source})" if job.base_source else ""))),
        "continued from": _artifact(job.parent) if job.parent else "the base",
        "data": _artifact(job.blocks / "blocks.json"),
        "seed": job.seed,
    }
    rows = {**facts, **job.facts, **counts}
    table = "\n".join(f"| {key} | {str(value).replace('|', '/')} |" for key, value in rows.items())
    library = "peft" if job.settings.mode == "lora" else "transformers"
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: text-generation\n---\n# {job.name}\n\nTrained by msm_ray.\n\n"
        + loading.section(code)
        + f"| | |\n|---|---|\n{table}\n\n## Settings\n\n```json\n{settings}\n```\n"
    )


def _logits(model: torch.nn.Module, probe: MicroBatch) -> torch.Tensor:
    return model(input_ids=probe.ids, position_ids=probe.positions, use_cache=False).logits.float()


def _checked_adapter(model: PeftModel, folder: Path, probe: MicroBatch, trained: torch.Tensor) -> torch.Tensor:
    """Put the written adapter onto the base that is in memory and compare; the logits of the base alone. On all ranks.

    No rank loads a second base: under ZeRO-3 too all of them compute together, the base's parts coming together layer
    by layer as in training. PEFT would read the adapter in float32, where it was trained in the base's dtype.
    """
    name = "exported"
    with torch.no_grad():
        with model.disable_adapter():
            base = _logits(model, probe)
        ranks.agree(lambda: _read_adapter(model, folder, name, probe.ids.device))
        model.set_adapter(name, inference_mode=True)
        exported = _logits(model, probe)
    ranks.agree(lambda: _compare(folder, base, trained, exported))
    return base


def _compare(folder: Path, base: torch.Tensor, trained: torch.Tensor, exported: torch.Tensor) -> None:
    off = float((exported - trained).abs().max())
    if not off <= TOLERANCE:  # not a number is not below it either
        raise StageError(f"{folder}: the adapter read back onto its base differs by {off:.3g} in a logit")
    if torch.equal(base, trained):
        raise StageError(f"{folder}: the adapter changes nothing; look at learning_rate, steps and lora.targets")


def _read_adapter(model: PeftModel, folder: Path, name: str, device: torch.device) -> None:
    result = model.load_adapter(str(folder), name, torch_device=str(device), autocast_adapter_dtype=False)
    if result.missing_keys or result.unexpected_keys:
        raise StageError(f"{folder}: PEFT reads back {result}")


def _write(
    model: Any,
    job: TrainingJob,
    tokenizer: PreTrainedTokenizerBase,
    counts: Mapping[str, Any],
    state: State,
    partial: Path,
) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    written = _save_adapter(model, partial, job, state) if job.settings.mode == "lora" else _save(model, partial, state)
    check_tensors(partial, written)
    tokenizer.save_pretrained(partial)
    write_cards(job, counts, partial)


def _put_in_place(partial: Path, exported: Path) -> None:
    shutil.rmtree(exported, ignore_errors=True)
    partial.rename(exported)


def _save(model: PreTrainedModel, folder: Path, state: State) -> State:
    """Write a whole model; returns what its files have to hold: a tied weight once, and under the names of the hub."""
    from transformers.core_model_loading import revert_weight_conversion

    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    untied = {name: value.contiguous() for name, value in state.items() if name not in tied}
    model.save_pretrained(folder, state_dict=dict(untied))
    return revert_weight_conversion(model, untied)


def _save_adapter(model: PeftModel, folder: Path, job: TrainingJob, state: State) -> State:
    """Write an adapter; returns what its file has to hold. Its configuration is the same wherever the run's root lies."""
    from peft import get_peft_model_state_dict

    model.save_pretrained(str(folder), state_dict=state, save_embedding_layers=False)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = job.base_source or None
    # PEFT keeps the targets as a set, whose order differs from process to process.
    config["target_modules"] = sorted(config["target_modules"])
    write_whole(path, json.dumps(config, indent=2, sort_keys=True))
    return get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal in kind, shape and every bit; only numbers that are finite count as equal."""
    if one.dtype != other.dtype or one.shape != other.shape or not one.isfinite().all():
        return False
    return torch.equal(one.reshape(-1).view(torch.uint8), other.contiguous().reshape(-1).view(torch.uint8))


def _artifact(inside: Path) -> str:
    """`midtrain/x-s0@1` for a folder or file inside that artifact: a card names no machine's folders."""
    return "/".join(inside.parent.parts[-2:])
