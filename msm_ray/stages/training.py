"""Midtraining on documents and SFT on chats: of all arms and seeds in one worker group, each committed by its rank 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msm_ray.graph.artifacts import is_committed
from msm_ray.graph.making import Work, say
from msm_ray.graph.node import Node
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.blocks import Blocks
from msm_ray.stages.given_checkpoint import GivenCheckpoint
from msm_ray.stages.machine import Machine
from msm_ray.stages.rendering import chat_options
from msm_ray.train.job import TrainingJob
from msm_ray.train.launch import train_all
from msm_ray.train.settings import TrainContent
from msm_ray.train.watching import watched


@dataclass(frozen=True, kw_only=True)
class Training(Node):
    """What both trainings have in common. base_source: what names the base wherever its folder lies, for an adapter."""

    group: ClassVar[str] = "training"

    how: TrainContent
    seed: int
    base: Base
    base_source: str
    blocks: Blocks

    @property
    def steps(self) -> int | None:
        """Optimizer steps, where the settings say how many."""
        return self.how.steps

    @property
    def tokens(self) -> int | None:
        """Positions that are trained on, packed as full as can be."""
        return self.how.steps * self.how.batch * self.how.sequence_length if self.how.steps else None

    @property
    def continued(self) -> Training | None:
        """The training that this one goes on from; None: the base."""
        return None

    @classmethod
    def make_all(cls, works: Sequence[Work[Training]], machine: Machine) -> None:
        """One worker group runs them all, so that its start and its imports are paid once."""
        machine.engines.close()  # their room is for this now
        machine.need_ray()
        jobs = [work.node.job(work, machine) for work in works]
        with watched(jobs):
            failures = train_all(jobs, machine.cluster, machine.root / "ray-train", say=say)
        for work in works:
            if is_committed(work.out):
                work.settle()
            elif work.node.key in failures:
                work.fail(failures[work.node.key])

    def job(self, work: Work[Training], machine: Machine) -> TrainingJob:
        """A plain description of it that can be sent to a worker."""
        base, facts = model_folder(work.folder(self.base)), dict(machine.labels.get(self.key, {}))
        if self.key in machine.asked_with and (options := chat_options(base, *machine.asked_with[self.key])):
            facts["asked with chat_template_kwargs"] = json.dumps(options)
        return TrainingJob(
            name=self.key,
            base=base,
            blocks=work.folder(self.blocks),
            out=work.out,
            settings=self.how,
            where=machine.training[self.key],
            seed=self.seed,
            parent=weights_folder(work.folder(self.continued), self.how) if self.continued else None,
            record=work.record,
            facts=facts,
            run=machine.tracked.training(work.record),
            base_source=self.base_source,
            cache=Path(cache).expanduser().resolve() if (cache := machine.cluster.node_cache) else None,
        )


@dataclass(frozen=True, kw_only=True)
class Midtrain(Training):
    """Training on a spec's documents, from the base."""

    kind: ClassVar[str] = "midtrain"


@dataclass(frozen=True, kw_only=True)
class Sft(Training):
    """Training on chats: of what midtraining left (paper: it continues its adapter), or of the base."""

    kind: ClassVar[str] = "sft"

    parent: Midtrain | None = None

    @property
    def continued(self) -> Training | None:
        """The midtraining, if there is one."""
        return self.parent


Checkpoint = Base | GivenCheckpoint | Midtrain | Sft


def weights_folder(folder: Path, how: TrainContent) -> Path:
    """Where what was trained lies in a training's folder."""
    return folder / ("model" if how.mode == "full" else "adapter")


def checkpoint_folder(node: Checkpoint, folder: Path) -> Path:
    """Where an arm's weights lie: the base's model, a trained or given model, or an adapter."""
    if isinstance(node, Base):
        return model_folder(folder)
    if isinstance(node, GivenCheckpoint):  # which of the two it is, is known when it is there
        return next((folder / name for name in ("adapter", "model") if (folder / name).is_dir()), folder / "model")
    return weights_folder(folder, node.how)
