"""The stages that make arms: blocks, midtraining, AFT."""

from __future__ import annotations

from dataclasses import dataclass

from msm_ray.checkpoints.source import source_of
from msm_ray.config.arms import ArmSettings
from msm_ray.config.names import group_of
from msm_ray.config.recipes import (
    aft_settings,
    check_aft,
    thinking_of,
)
from msm_ray.corpus.settings import BlockSettings
from msm_ray.errors import SettingsError
from msm_ray.graph.node import Node
from msm_ray.settings_base import part
from msm_ray.stages.blocks import Blocks
from msm_ray.stages.given_checkpoint import GivenCheckpoint
from msm_ray.stages.training import Checkpoint, Midtrain, Sft
from msm_ray.train.settings import LoraSettings, TrainContent, TrainSettings
from msm_ray.unfolding.data import DataStages


@dataclass(frozen=True)
class TrainedArm:
    """Where an arm's weights of one seed come from."""

    arm: str
    seed: int
    checkpoint: Checkpoint


class ArmStages:
    """Makes the stages of arms from those that make data."""

    def __init__(self, data: DataStages):
        self.data, self.settings, self.base = data, data.settings, data.base

    def checkpoint(self, arm: str, seed: int) -> Checkpoint:
        """Where an arm's weights come from: base, then midtraining, then SFT, as far as its recipe goes.

        Arms of different groups share a stage unless a group trains AFT its own way: then its AFT stages carry its name.
        """
        recipe = self.settings.arms[arm]
        if recipe.checkpoint:
            return self._given(arm, recipe, recipe.checkpoint)
        midtrain = self._midtrain(recipe.midtrain, seed) if recipe.midtrain else None
        if recipe.sft:
            return self._sft(arm, recipe.sft, midtrain, seed)
        return midtrain or self.base

    def _given(self, arm: str, how: ArmSettings, name: str) -> GivenCheckpoint:
        settings = self.settings
        try:
            source = source_of(name, how.revision)
        except SettingsError as error:
            raise SettingsError(f"arms.{arm}.checkpoint: {error}") from None
        return GivenCheckpoint(
            name=arm.replace("/", "."), how=source, base=self.base, base_source=settings.base.source,
            template=how.chat_template, chat_template_kwargs=settings.chat_template_kwargs, thinking=how.thinking,
        )  # fmt: skip

    def _midtrain(self, spec: str, seed: int) -> Midtrain:
        how = self.settings.midtraining
        mixed = self.data.replay() if how.mix else None
        blocks = Blocks(
            name=f"{spec}-documents", how=_packed(how, mixed), base=self.base, texts=self.data.corpus(spec), mixed=mixed,
            separator=self.settings.base.separator,
        )  # fmt: skip
        return Midtrain(
            name=f"{spec}-s{seed}", how=_trained(how), seed=seed, base=self.base, base_source=self.settings.base.source,
            blocks=blocks,
        )  # fmt: skip

    def _sft(self, arm: str, chats: str, midtrain: Midtrain | None, seed: int) -> Sft:
        settings, how = self.settings, aft_settings(self.settings, arm)
        check_aft(settings, arm)
        own = f"{group_of(arm)}-" if group_of(arm) in settings.groups else ""
        mixed = self.data.chats(how.mix_source) if how.mix and how.mix_source and how.mix_source != chats else None
        blocks = Blocks(
            name=f"{own}{chats}-chats", how=_packed(how, mixed), base=self.base, texts=self.data.chats(chats), mixed=mixed,
            chat_template_kwargs=settings.chat_template_kwargs, thinking=thinking_of(settings, chats),
            mix_thinking=thinking_of(settings, how.mix_source) if mixed else None,
        )  # fmt: skip
        name = f"{settings.arms[arm].midtrain}+{chats}" if midtrain else chats
        return Sft(
            name=f"{own}{name}-s{seed}", how=_trained(how), seed=seed, base=self.base, base_source=settings.base.source,
            blocks=blocks, parent=midtrain,
        )  # fmt: skip


def _packed(how: TrainSettings, mixed: Node | None) -> BlockSettings:
    """What decides the blocks; without anything to mix in, a share of it decides nothing."""
    blocks = part(how, BlockSettings)
    return blocks if mixed else blocks.model_copy(update={"mix": 0.0})


def _trained(how: TrainSettings) -> TrainContent:
    """What decides the weights; where every weight is trained, an adapter's settings decide nothing."""
    content = part(how, TrainContent)
    return content.model_copy(update={"lora": LoraSettings()}) if how.mode == "full" else content
