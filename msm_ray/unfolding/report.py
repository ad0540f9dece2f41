"""The stages that ask arms, judge their answers and report on them."""

from __future__ import annotations

from msm_ray.code_digest import code_digest
from msm_ray.config.recipes import (
    arm_thinking,
    asked_arms,
    unread_specs,
    used_specs,
)
from msm_ray.evals.protocol import Background
from msm_ray.stages.items import EvalItems
from msm_ray.stages.report import Report
from msm_ray.stages.rollouts import Rollouts
from msm_ray.stages.verdicts import Verdicts
from msm_ray.unfolding.arms import TrainedArm
from msm_ray.unfolding.data import DataStages


class ReportStages:
    """Makes the stages from trained arms to the report."""

    def __init__(self, data: DataStages):
        self.data, self.settings, self.base, self.specs = data, data.settings, data.base, data.specs

    def report(self, trained: tuple[TrainedArm, ...]) -> Report:
        """Every eval's verdicts, and what they are to answer."""
        settings = self.settings
        verdicts = tuple(one for name in settings.evals for one in self._verdicts(name, trained))
        return Report(
            name=settings.experiment,
            how=settings.report,
            experiment=settings.experiment,
            arms=settings.arms,
            evals=settings.evals,
            base_source=settings.base.source,
            assistant=settings.assistant.name,
            seeds=settings.seeds,
            specs={name: self.specs[name] for name in used_specs(settings)},
            statistics=code_digest("stats.py", "intervals.py"),
            verdicts=verdicts,
            trained=tuple({one.checkpoint.key: one.checkpoint for one in trained}.values()),
        )

    def _verdicts(self, name: str, trained: tuple[TrainedArm, ...]) -> list[Verdicts]:
        """Items once, then rollouts and verdicts for every arm and seed that the eval is for."""
        settings, how = self.settings, self.settings.evals[name]
        background, arms = self._background(), asked_arms(settings, how)
        items = self._items(name)
        found = []
        for one in (one for one in trained if one.arm in arms):
            label = f"{name}-{one.arm.replace('/', '.')}-s{one.seed}"
            rollouts = Rollouts(
                name=label, how=how.asking(), items=items, arm=one.arm, seed=one.seed, checkpoint=one.checkpoint,
                base=self.base, chat_template_kwargs=settings.chat_template_kwargs,
                thinking=arm_thinking(settings, one.arm),
            )  # fmt: skip
            found.append(Verdicts(name=label, how=how.judging(background), rollouts=rollouts, items=items))
        return found

    def _items(self, name: str) -> EvalItems:
        settings, how = self.settings, self.settings.evals[name].items(self._background())
        return EvalItems(
            name=name, how=how, base=self.base, chat_template_kwargs=settings.chat_template_kwargs,
            corpora=tuple(map(self.data.corpus, unread_specs(settings))) if how.held_against_corpora else (),
        )  # fmt: skip

    def _background(self) -> Background:
        settings = self.settings
        return Background(
            assistant=settings.assistant.name,
            provider=settings.assistant.provider,
            world=settings.world,
            specs=tuple("\n".join((spec.text, *spec.facts)) for spec in self.specs.values()),
            domains=tuple(chats.domain for chats in settings.chats.values() if chats.domain),
        )
