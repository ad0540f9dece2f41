"""The training loop: torch and DeepSpeed, no Ray. Exact: the same job on as many workers gives the same bytes."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from msm_ray import training_metrics
from msm_ray.corpus.block_cache import local_copy
from msm_ray.corpus.blocks import FACTS, Blocks, named, read_blocks
from msm_ray.corpus.tokens import NO_LOSS, load_tokenizer, shown_mask
from msm_ray.errors import StageError
from msm_ray.train import batches, checkpoint, export, guards, ranks
from msm_ray.train.batches import MicroBatch
from msm_ray.train.job import Schedule, TrainingJob, file_digest, identity
from msm_ray.train.model import device, load_model, prepare_torch, rate_shares, wrap
from msm_ray.training_metrics import Progress

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from transformers import PreTrainedTokenizerBase

Counts = dict[str, int | float | str]
SMALLER = "Lower micro_batch, set activation_checkpointing, zero_stage=3 or more workers: none of it makes what is finished stale"


def train(
    job: TrainingJob,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = print,
) -> Counts:
    """Run a job to its exported weights, from its newest sound checkpoint where it has one. Called on every rank.

    on_progress is called on every rank each `log_every` steps; say is told, on rank 0, what a user should know (a damaged
    checkpoint). Returns steps, tokens, final loss and the like. Raises SettingsError when a guard refuses the job and
    StageError when it fails, on all ranks alike (`ranks.is_everywhere`).
    """
    prepare_torch()
    ranks.join()
    job.out.mkdir(parents=True, exist_ok=True)
    run = _start(job)
    try:
        frozen = job.settings.mode == "lora"
        done = checkpoint.resume(run.engine, job.out, run.identity, frozen=frozen, say=_from_first_rank(say))
        _steps(run, done, on_progress)
        counts = _counts(run)
        export.export(run.engine, job, run.tokenizer, counts, batches.probe(run.blocks, device()))
        ranks.from_first(lambda: checkpoint.remove(job.out))
        return counts
    except torch.OutOfMemoryError as error:
        raise StageError(f"{job.name}: {error}. {SMALLER}") from error
    finally:
        run.engine.destroy()
        del run
        gc.collect()


def _from_first_rank(say: Callable[[str], None]) -> Callable[[str], None]:
    return say if dist.get_rank() == 0 else lambda text: None


@dataclass(frozen=True)
class _Run:
    """A job with all that it needs at hand on this rank. trained: labels with loss in each block."""

    job: TrainingJob
    blocks: Blocks
    trained: np.ndarray
    schedule: Schedule
    tokenizer: PreTrainedTokenizerBase
    engine: DeepSpeedEngine
    identity: str
    passes: int

    def batch(self, step: int) -> list[MicroBatch]:
        """This rank's micro-batches of a step."""
        indices = batches.share(self.schedule.batch(step), dist.get_rank(), dist.get_world_size())
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        rows = self.job.where.micro_batch
        return batches.micro_batches(self.blocks, indices, passes=self.passes, rows=rows, pad=pad, device=device())


def _start(job: TrainingJob) -> _Run:
    """Check everything that can be checked before the first step, then build the engine."""
    blocks = ranks.agree(lambda: read_blocks(local_copy(job.blocks, job.cache)))
    tokenizer = ranks.agree(lambda: load_tokenizer(job.weights))
    schedule = Schedule(job.settings, len(blocks), job.seed)
    ranks.agree(lambda: guards.check_job(job, blocks, schedule, tokenizer))
    model = ranks.agree(lambda: guards.checked_model(job, blocks, tokenizer, load_model))
    passes = batches.micro_steps(job.settings.batch, dist.get_world_size(), job.where.micro_batch)
    _announce(job, blocks, schedule, tokenizer)
    key = ranks.from_first(lambda: identity(job, file_digest(job.blocks / FACTS)))
    engine = wrap(model, job.settings, job.where, passes)
    return _Run(job, blocks, blocks.trained, schedule, tokenizer, engine, key, passes)


def _announce(job: TrainingJob, blocks: Blocks, schedule: Schedule, tokenizer: PreTrainedTokenizerBase) -> None:
    """Say once what is about to happen, and show which tokens are trained on, so that a wrong mask is seen at once."""
    if dist.get_rank():
        return
    s, first = job.settings, blocks[0]
    mask = shown_mask(tokenizer, first.ids.tolist(), first.labels.tolist(), most=48)
    print(
        f"{job.name}: {s.mode}, {schedule.steps} steps of {s.batch} blocks of {s.sequence_length}, {s.precision} on "
        f"{dist.get_world_size()} x {device().type}, ZeRO-{job.where.zero_stage}; each of {len(blocks)} blocks is seen "
        f"{schedule.epochs:.1f} times; trained tokens stand in [[ ]]: {mask}",
        flush=True,
    )


def _steps(run: _Run, done: int, on_progress: Callable[[Progress], None] | None) -> None:
    where, schedule = run.job.where, run.schedule
    began, tokens_seen = time.perf_counter(), 0
    for step in range(done, schedule.steps):
        row = _step(run, step)
        tokens_seen += int(row["positions"])
        last = step + 1 == schedule.steps
        if dist.get_rank() == 0:
            training_metrics.append(run.job.out, row)
        if on_progress is not None and (last or (step + 1) % where.log_every == 0):
            seconds = time.perf_counter() - began
            left = seconds / (step + 1 - done) * (schedule.steps - step - 1)
            at = (run.job.name, step + 1, schedule.steps, row["loss"], schedule.learning_rate(step), row["grad_norm"])
            on_progress(Progress(*at, tokens_seen / seconds, left))
        # Before the export too: what fails there is a full disk, and the steps are paid for.
        if (step + 1) % where.checkpoint_every == 0 or (last and schedule.steps > where.checkpoint_every):
            checkpoint.save(run.engine, run.job.out, step + 1, run.identity, frozen=run.job.settings.mode == "lora")


def _step(run: _Run, step: int) -> dict[str, float | int]:
    """One optimizer step over the whole batch. Raises StageError on all ranks when loss or gradients are not finite.

    Gradients are those of the summed loss over the batch's trained tokens, all ranks and micro-batches together: a mean
    of means would weigh a token by how many others share its micro-batch. DeepSpeed averages over ranks, hence `world`.
    """
    engine, indices = run.engine, run.schedule.batch(step)
    world, trained = dist.get_world_size(), max(1, int(run.trained[indices].sum()))
    rate = run.schedule.learning_rate(step)
    for group, share in zip(engine.optimizer.param_groups, rate_shares(run.job.settings), strict=True):
        group["lr"] = rate * share
    # Dropout draws from a state that the step alone decides, so that a checkpoint needs none.
    torch.manual_seed((run.job.seed * 1_000_003 + step) * 1_009 + dist.get_rank())
    summed = torch.zeros((), dtype=torch.float64)
    for micro in run.batch(step):
        loss = summed_loss(engine, micro)
        summed += loss.detach().double().cpu()
        engine.backward(loss * (world / trained), scale_wrt_gas=False)
        norm = _gradient_norm(engine)
        engine.step()
    mean = ranks.total(summed.to(device())) / trained
    if norm is None:
        norm = engine.get_global_grad_norm()
    norm = float(norm or 0.0)
    # DeepSpeed skips a step whose gradients are not finite, warns and goes on as if it had been taken.
    if not (math.isfinite(mean) and math.isfinite(norm) and engine.was_step_applied()):
        raise ranks.everywhere(
            StageError(
                f"{run.job.name}: loss {mean} with gradients of norm {norm} at step {step + 1}; lower learning_rate or look "
                f"at blocks {indices} of {run.job.blocks}, which hold {named(run.blocks.rows_of(indices))}"
            )
        )
    tokens = {"tokens": trained, "positions": len(indices) * run.job.settings.sequence_length}
    return {"step": step + 1, "loss": mean, "lr": rate, "grad_norm": norm, **tokens}


def summed_loss(model: torch.nn.Module, micro: MicroBatch) -> torch.Tensor:
    """Cross-entropy summed over the trained tokens of a micro-batch, in nats.

    No attention mask is given: positions that restart are what tells transformers where a text ends, and any mask would
    let packed texts see each other. Logits are made only where some row is trained on.
    """
    targets = micro.labels[:, 1:]
    keep = (targets != NO_LOSS).any(dim=0).nonzero().flatten()
    keep = keep if len(keep) else torch.zeros(1, dtype=torch.long, device=targets.device)
    logits = model(input_ids=micro.ids, position_ids=micro.positions, use_cache=False, logits_to_keep=keep).logits
    return F.cross_entropy(
        logits.float().flatten(0, 1), targets[:, keep].flatten(), ignore_index=NO_LOSS, reduction="sum"
    )


def _gradient_norm(engine: DeepSpeedEngine) -> float | None:
    """Stage 0 keeps plain gradients and tells no norm; the other stages know it after the step."""
    if engine.zero_optimization_stage() or not engine.is_gradient_accumulation_boundary():
        return None
    gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def _counts(run: _Run) -> Counts:
    rows = ranks.from_first(lambda: training_metrics.read(run.job.out))
    last = rows[-10:]
    return {
        "steps": len(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "positions": sum(row["positions"] for row in rows),
        "blocks": len(run.blocks),
        "epochs": round(run.schedule.epochs, 3),
        "first_loss": round(rows[0]["loss"], 6),
        "final_loss": round(sum(row["loss"] for row in last) / len(last), 6),
        "workers": dist.get_world_size(),
    }
