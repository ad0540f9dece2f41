"""The model that is trained: loaded, given its adapter, and wrapped by DeepSpeed."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from msm_ray.train import guards
from msm_ray.train.job import TrainingJob
from msm_ray.train.settings import TrainContent, TrainWhere

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16}
LARGEST_BUCKET = 50_000_000
"""Elements of DeepSpeed's communication buffers; its own default of 5e8 takes 2 GB a worker whatever the model."""


def prepare_torch() -> None:
    """Import DeepSpeed with nothing left to compile, for the device at hand. Call first, on every rank."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # DeepSpeed calls collectives by names that torch is about to retire, and torch says so at every call.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    import deepspeed
    from transformers.utils import logging

    # Else DeepSpeed compiles its shared-memory collectives for 13 minutes before the first step on a CPU.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.utils.logger.setLevel("WARNING")
    logging.disable_progress_bar()


def device() -> torch.device:
    """The accelerator of this rank, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def load_model(job: TrainingJob) -> nn.Module:
    """The model with the parameters that are trained requiring gradients: all of them, or an adapter's.

    A LoRA training goes on with its parent's adapter where there is one; a new adapter is drawn by the job's seed.
    """
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        job.weights, dtype=DTYPE[job.settings.precision], attn_implementation="sdpa", local_files_only=True
    )
    model.config.use_cache = False
    if job.where.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if job.settings.mode == "lora":
        model = _with_adapter(model, job)
    return model.train()


def wrap(model: nn.Module, settings: TrainContent, where: TrainWhere, micro_steps: int) -> DeepSpeedEngine:
    """A DeepSpeed engine over the model; `torch.distributed` must be initialized. micro_steps: accumulation per step."""
    import deepspeed

    groups = parameter_groups(model, settings)
    config = deepspeed_config(settings, where, micro_steps, sum(p.numel() for group in groups for p in group["params"]))
    deepspeed.init_distributed()  # takes over the process group that is there
    engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    return engine


def parameter_groups(model: Any, settings: TrainContent) -> list[dict[str, Any]]:
    """What is trained, as groups for the optimizer: with `embedding_learning_rate`, the input embeddings apart and last."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if settings.embedding_learning_rate is None:
        return [{"params": trained}]
    table = model.get_input_embeddings().weight
    return [{"params": [p for p in trained if p is not table]}, {"params": [table]}]


def rate_shares(settings: TrainContent) -> list[float]:
    """The learning rate of each of `parameter_groups`, as a share of `learning_rate`."""
    if settings.embedding_learning_rate is None:
        return [1.0]
    return [1.0, settings.embedding_learning_rate / settings.learning_rate]


def deepspeed_config(settings: TrainContent, where: TrainWhere, micro_steps: int, trained: int) -> dict[str, Any]:
    """DeepSpeed's settings, derived from ours. trained: parameters with gradients (they bound the buffers)."""
    bucket = min(LARGEST_BUCKET, max(trained, 1))
    adamw = {
        "lr": settings.learning_rate,
        "betas": list(settings.betas),
        "weight_decay": settings.weight_decay,
        "torch_adam": True,  # DeepSpeed's own wants a compiler
        "adam_w_mode": True,
    }
    zero: dict[str, Any] = {"stage": where.zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
    if where.offload_optimizer:
        zero |= {"offload_optimizer": {"device": "cpu", "pin_memory": torch.cuda.is_available()}}
    if where.zero_stage == 3:
        zero |= {"stage3_prefetch_bucket_size": bucket, "stage3_max_live_parameters": LARGEST_BUCKET}
    return {
        "train_micro_batch_size_per_gpu": where.micro_batch,
        "gradient_accumulation_steps": micro_steps,
        "optimizer": {"type": "AdamW", "params": adamw},
        "gradient_clipping": settings.clip,
        "zero_optimization": zero,
        "bf16": {"enabled": settings.precision == "bf16"},
        # Else a step's many micro-batches are added up with bf16's 8 bits.
        "data_types": {"grad_accum_dtype": "fp32"},
        "steps_per_print": 10**9,
    }


def _with_adapter(model: nn.Module, job: TrainingJob) -> nn.Module:
    from peft import LoraConfig, PeftModel, get_peft_model

    if job.parent is not None:
        return PeftModel.from_pretrained(model, job.parent, is_trainable=True, autocast_adapter_dtype=False)
    lora = job.settings.lora
    guards.check_targets(model, lora)
    torch.manual_seed(job.seed)
    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.targets),
        ),
        autocast_adapter_dtype=False,
    )
