"""The machine that stages are made on: where, and how fast. Nothing here can change what is made, so nothing here is identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msm_ray.corpus.settings import CheckWhere
from msm_ray.engines.open import Engines
from msm_ray.generate.document_settings import DocumentWhere
from msm_ray.generate.writer_settings import WriterWhere, WrittenChatsWhere
from msm_ray.placement.settings import ClusterSettings, GenerationSettings
from msm_ray.tracking import ExperimentRun
from msm_ray.train.settings import TrainWhere


@dataclass(frozen=True)
class Machine:
    """What the work of every stage has beside its own fields and its inputs' folders.

    root: folders of runs lie below it; need_ray: starts Ray once; engines: who answers prompts; writing, comparing,
    training: by the key of the stage that it is for; asking: so too, by the call; checking: which corpora end the run; labels:
    lines for the cards of checkpoints, by their keys; asked_with: chat_template_kwargs and `thinking` of those that arms are
    asked with; tracked: the experiment's W&B run.
    """

    root: Path
    cluster: ClusterSettings
    tracked: ExperimentRun
    need_ray: Callable[[], None] = lambda: None
    writing: Mapping[str, DocumentWhere] = field(default_factory=dict)
    checking: CheckWhere = CheckWhere()
    asking: Mapping[str, Mapping[str, WriterWhere]] = field(default_factory=dict)
    comparing: Mapping[str, WrittenChatsWhere] = field(default_factory=dict)
    engines: Engines = field(default_factory=lambda: Engines(GenerationSettings()))
    training: Mapping[str, TrainWhere] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    asked_with: Mapping[str, tuple[Mapping[str, Any], bool | None]] = field(default_factory=dict)
