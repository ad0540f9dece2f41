"""An eval's questions to one arm and seed; all arms behind one address, asked arm by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from msm_ray.checkpoints.source import ADAPTER
from msm_ray.errors import StageError
from msm_ray.evals.protocol import Asking
from msm_ray.evals.watching import watched
from msm_ray.graph.making import Work, say
from msm_ray.graph.node import Node
from msm_ray.rollouts import RolloutJob, run_rollouts
from msm_ray.serve import open_arms
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.items import EvalItems
from msm_ray.stages.machine import Machine
from msm_ray.stages.rendering import chat_options
from msm_ray.stages.serving import asked_options, brings_template, served_name, serving_folder
from msm_ray.stages.training import Checkpoint, checkpoint_folder


@dataclass(frozen=True, kw_only=True)
class Rollouts(Node):
    """how: temperature and lengths. arm, seed: what stands in the rows; checkpoint: its weights; base: what it is served with.

    chat_template_kwargs, thinking: what the arm's chats were rendered with, and so what it is asked with.
    """

    kind: ClassVar[str] = "rollouts"

    how: Asking
    items: EvalItems
    arm: str
    seed: int
    checkpoint: Checkpoint
    base: Base
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    thinking: bool | None = None

    @property
    def rows(self) -> int | None:
        """Answers that are asked for, where the settings say."""
        return self.items.how.expected_rollouts

    @classmethod
    def make_all(cls, works: Sequence[Work[Rollouts]], machine: Machine) -> None:
        """One server for the base and adapters, one for full checkpoints; an arm that fails its check fails alone."""
        machine.engines.close()  # their room is for this now
        machine.need_ray()
        for together in sittings(works):
            cls._ask(together, machine)

    @classmethod
    def _ask(cls, works: Sequence[Work[Rollouts]], machine: Machine) -> None:
        base = model_folder(works[0].folder(works[0].node.base))
        base_id = works[0].node.base.name
        jobs = {work.node.key: work.node.job(work, base_id) for work in works}
        by_out = {work.out: work for work in works}
        trained = [work for work in works if not isinstance(work.node.checkpoint, Base)]
        arms = {served_name(w.node.checkpoint): w.node.weights(w) for w in trained}
        options: dict[str | None, Mapping[str, Any]] = {
            served_name(w.node.checkpoint): jobs[w.node.key].chat_template_kwargs for w in trained
        }
        with open_arms(
            base,
            arms,
            machine.cluster.serving,
            base_id=base_id,
            work=serving_folder(machine.root),
            options={**options, None: chat_options(base, works[0].node.chat_template_kwargs, None)},
            nodes_max=machine.cluster.nodes_max,
            own_templates={served_name(w.node.checkpoint) for w in trained if brings_template(w.node.checkpoint)},
        ) as served:
            say(f"serving {len(arms)} arms at {served.address}")
            for work in works:
                if (model := jobs[work.node.key].model) in served.refused:
                    work.fail(StageError(served.refused[model]))
            asked = {key: job for key, job in jobs.items() if job.model not in served.refused}
            with watched(asked):
                run_rollouts(
                    list(asked.values()),
                    served.address,
                    machine.cluster.serving,
                    on_finished=lambda job, counts: by_out[job.out].finish(counts),
                    on_failed=lambda job, error: by_out[job.out].fail(error),
                    key=served.key,
                )

    def weights(self, work: Work[Rollouts]) -> Path:
        """The folder of what is asked."""
        return checkpoint_folder(self.checkpoint, work.folder(self.checkpoint))

    def job(self, work: Work[Rollouts], base_id: str) -> RolloutJob:
        """A plain description of it that can be sent to whoever asks."""
        base = model_folder(work.folder(self.base))
        return RolloutJob(
            out=work.out,
            eval=self.items.name,
            arm=self.arm,
            seed=self.seed,
            model=base_id if isinstance(self.checkpoint, Base) else f"{base_id}:{served_name(self.checkpoint)}",
            items=work.folder(self.items),
            asking=self.how,
            chat_template_kwargs=asked_options(
                self.checkpoint, base, self.weights(work), self.chat_template_kwargs, self.thinking
            ),
        )


def sittings(works: Sequence[Work[Rollouts]]) -> list[list[Work[Rollouts]]]:
    """Works that one server can ask, checkpoint by checkpoint: an engine takes adapters, or full checkpoints in turns.

    The base is asked with the adapters, where there are any.
    """
    works = sorted(works, key=lambda work: (work.node.checkpoint.key, work.node.name))
    full = [w for w in works if not isinstance(w.node.checkpoint, Base) and not (w.node.weights(w) / ADAPTER).is_file()]
    others = [work for work in works if work not in full]
    if all(isinstance(work.node.checkpoint, Base) for work in others):
        return [works]
    return [each for each in (others, full) if each]
