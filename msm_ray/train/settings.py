"""How a training is done: midtraining on documents, AFT on chats. Defaults are the paper's, where it says them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from msm_ray.corpus.settings import PackingSettings
from msm_ray.settings_base import Blocks, Count, LearningRate, Settings, Share, Steps, Unit, Where


class LoraSettings(Settings):
    """The adapter of `mode: lora`. AFT goes on with midtraining's, so both have the same."""

    r: Count = 64
    """Rank; engines serve up to 512. Paper: 64."""
    alpha: Count = 128
    """Scale of the adapter, divided by the rank. Paper: 128."""
    dropout: Annotated[float, Field(ge=0, lt=1), Unit("share")] = 0.0
    """Dropout inside the adapter. Paper: 0."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Modules that get an adapter. Paper: all attention and MLP projections, as here."""


class TrainContent(Settings):
    """What decides the weights that a training gives, beside its data, its seed and what it goes on from."""

    mode: Literal["lora", "full"] = "lora"
    """Train an adapter, or every weight. Paper: LoRA."""
    lora: LoraSettings = LoraSettings()
    """The adapter, for `mode: lora`."""
    learning_rate: LearningRate = 1e-4
    """Highest rate, after warmup. Paper: 1e-4."""
    embedding_learning_rate: LearningRate | None = None
    """Rate of the input embeddings, where it is to be another; `mode: full` only. None: the same."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the rate goes on after warmup. Paper: cosine."""
    final_lr_share: Share = 0.0
    """Rate at the end, as a share of the highest; for `schedule: cosine`."""
    warmup: Annotated[float, Field(ge=0, lt=1), Unit("share")] = 0.05
    """Share of the steps in which the rate rises from 0. Paper: 5%."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's weight decay. Paper: 0.01."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's betas."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    epochs: Annotated[float, Field(gt=0), Unit("passes")] = 1.0
    """Passes over the data, where `steps` says nothing. Paper: 1."""
    steps: Steps | None = None
    """Optimizer steps, however often the data is passed. None: `epochs` decides."""
    batch: Blocks = 32
    """Packed blocks of an optimizer step, over all workers; fewer make more steps of the same data. Paper: not stated."""
    sequence_length: Annotated[int, Field(gt=1), Unit("tokens")] = 4096
    """Length of a packed block; documents and chats are packed into them and never see each other. Paper: 4,096 (Llama-3.1-8B),
    8,192 (Qwen 14B and 32B)."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Numbers that the model computes with; on a CPU fp32 is faster. Paper: not stated."""


class TrainWhere(Where):
    """How fast a training is, how often it saves, and what is refused."""

    micro_batch: Blocks = 1
    """Packed blocks that one worker passes through the model at a time: memory against speed."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """What DeepSpeed's ZeRO spreads over the workers: nothing (0), optimizer (1), gradients too (2), weights too (3)."""
    offload_optimizer: bool = False
    """Keep the optimizer's states in main memory: slow, but they fit."""
    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them: slower, with less memory."""
    checkpoint_every: Steps = 50
    """How often a checkpoint is written that an interrupted training goes on from."""
    log_every: Steps = 10
    """How often loss, rate and gradient norm are noted."""
    least_steps: Steps = 100
    """Fewer optimizer steps than these are refused. Paper: replications saw no effect with 31 steps and the effect with 246."""
    most_epochs: Annotated[float, Field(gt=0), Unit("passes")] = 10
    """More passes over the data than these are refused."""


class TrainSettings(TrainWhere, PackingSettings, TrainContent):
    """One training, with AdamW. The number of optimizer steps decides, more than that of tokens (docs/concepts.md)."""

    mix_source: str | None = None
    """What is mixed in: for `aft` the name of a set of `chats`, for `midtraining` a file of texts (JSONL or Parquet with
    `text`) or `tinyworld`."""

    @field_validator("zero_stage")
    @classmethod
    def bf16_is_summed_in_fp32(cls, stage: int, info: ValidationInfo) -> int:
        """DeepSpeed adds up the gradients of a bf16 model in fp32 with ZeRO 1 to 3 only."""
        if stage == 0 and info.data.get("precision") == "bf16":
            raise ValueError(
                "with `precision: bf16` gradients are added up in fp32, which DeepSpeed does with zero_stage 1, 2 or 3; "
                "give one of these, or `precision: fp32`"
            )
        return stage

    @field_validator("offload_optimizer")
    @classmethod
    def zero_offloads(cls, offload: bool, info: ValidationInfo) -> bool:
        """It is ZeRO's partitions that are kept elsewhere."""
        if offload and info.data.get("zero_stage") == 0:
            raise ValueError("needs zero_stage 1, 2 or 3")
        return offload

    @model_validator(mode="after")
    def adapters_have_one_rate(self) -> TrainSettings:
        """An adapter leaves the embeddings as they are."""
        if self.mode == "lora" and self.embedding_learning_rate is not None:
            raise ValueError("embedding_learning_rate needs `mode: full`: a LoRA adapter does not train the embeddings")
        return self
