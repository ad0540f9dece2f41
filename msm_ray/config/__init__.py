"""An experiment file, put together from the settings of every room: typed and frozen. Defaults are the paper's.

Each section's class stands in the room that reads it (`generate/document_settings.py`, `train/settings.py`,
`placement/settings.py`, ...), and what a setting means stands beneath it (`settings_base.py`). Here: the whole, arms
(`arms.py`) and what they say (`recipes.py`), names that one part uses and another defines (`names.py`), and how a file is
read, with overrides, variables and errors that have a line (`file.py`). Paper: arXiv 2605.02087.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from msm_ray.config.arms import ArmSettings, GroupSettings, NewSpecArm
from msm_ray.config.names import check_names
from msm_ray.corpus.settings import CheckSettings
from msm_ray.errors import SettingsError
from msm_ray.evals.registry import EvalSettings
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.writer_settings import WriterSettings
from msm_ray.models import BaseSettings
from msm_ray.placement.settings import ClusterSettings
from msm_ray.report.settings import ReportSettings
from msm_ray.settings_base import Settings, Unit
from msm_ray.spec import AssistantSettings
from msm_ray.storage.places import check_address
from msm_ray.tracking.settings import TrackingSettings
from msm_ray.train.settings import TrainSettings
from msm_ray.worlds import world as the_world


class ExperimentSettings(Settings):
    """An experiment: arms x seeds plus evals."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Its name, of lower-case letters, digits and `-`."""
    root: str = "runs"
    """Folder in which everything that is made lies; on a cluster one that every node sees. Or a bucket, `s3://BUCKET/PREFIX`
    (docs/clusters.md says which stages run there)."""
    seeds: Annotated[int, Field(gt=0), Unit("trainings of each arm")] = 4
    """Training seeds. With fewer than three the report claims no difference. Paper: 4."""
    assistant: AssistantSettings
    """Who the spec is about."""
    base: BaseSettings = BaseSettings()
    """The base model; needed where there are arms, or where it writes."""
    world: str = "plain"
    """The language that documents are in: `plain` English, `tinyworld`, a closed language that needs no large model, or
    `package.module:OBJECT` of your own (docs/architecture.md)."""
    chat_template_kwargs: dict[str, str | bool | int | float] = {}
    """What every chat is rendered with (Qwen3: `enable_thinking: false`), in writing, training, asking and serving alike; a set
    of chats with `thinking` has its own way. Paper: Qwen3 without thinking for the arms without chain of thought."""
    specs: dict[str, str] = {}
    """Spec files, by names of your own (specs/README.md says how to write one). Paper: 342 to 3,039 words."""
    writer: WriterSettings = WriterSettings()
    """Who writes outlines, documents and chats, said once. Paper: Claude Opus 4.6 for all of it."""
    documents: DocumentSettings = DocumentSettings()
    """How documents about every spec are written."""
    corpora: dict[str, DocumentSettings] = {}
    """Per spec, what differs from `documents`."""
    checks: CheckSettings = CheckSettings()
    """Which documents are fit to be trained on, and which corpora end the run."""
    chats: dict[str, ChatSettings] = {}
    """Sets of chats, by names of your own."""
    midtraining: TrainSettings = TrainSettings()
    """Training on documents."""
    aft: TrainSettings = TrainSettings()
    """Training on chats."""
    arms: dict[str, ArmSettings] = {}
    """What is compared: recipes, by names such as `values/aft` (group/name). None: only data are made, a corpus of every spec and
    every set of chats. Paper: baseline, MSM, AFT and MSM+AFT."""
    groups: dict[str, GroupSettings] = {}
    """Per group of arms, what differs from `aft`."""
    new_spec_arm: NewSpecArm | None = None
    """Arms for a spec that no arm names, such as `specs.mine=my.md` on the command line. None: there are none."""
    evals: dict[str, EvalSettings] = {}
    """What arms are asked, by names of your own."""
    report: ReportSettings = ReportSettings()
    """What the report asks and shows."""
    variant: str | None = None
    """Which of `variants` holds, e.g. `msm run FILE variant=released`. None: the file as it stands."""
    variants: dict[str, dict[str, Any]] = {}
    """Other ways to run the experiment, by names of your own: dotted settings, each with what takes its place, whole sections too
    (`chats.spec: {source: hub, ...}`)."""
    tracking: TrackingSettings = TrackingSettings()
    """Weights & Biases."""
    cluster: ClusterSettings = ClusterSettings()
    """Where the work runs."""

    @field_validator("world")
    @classmethod
    def world_exists(cls, world: str) -> str:
        """Worlds are objects of the package (`worlds/`), or of the user's own."""
        the_world(world)
        return world

    @field_validator("root")
    @classmethod
    def root_is_a_folder(cls, root: str) -> str:
        """A mistyped address would become a folder called `s3:`, nothing the working directory."""
        try:
            check_address(root)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if not root.strip():
            raise ValueError("the root is empty; name a folder")
        return root

    @model_validator(mode="after")
    def base_is_there(self) -> ExperimentSettings:
        """Arms start from a base."""
        if self.arms and not self.base.source:
            raise ValueError("base.source is missing: every arm starts from a base model")
        return self

    @model_validator(mode="after")
    def names_exist(self) -> ExperimentSettings:
        """Every name that one part uses must be defined in another; the message names the nearest one."""
        check_names(self)
        return self
