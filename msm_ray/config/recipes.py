"""What an experiment's settings say of its arms: which sections hold for which, and recipes that can't be. Nothing is started."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Iterable

from msm_ray.config import ExperimentSettings
from msm_ray.config.names import group_of, new_arms, source_of, trained_on
from msm_ray.corpus.settings import CheckSettings, checks_in
from msm_ray.errors import SettingsError
from msm_ray.evals.registry import EvalSettings
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.train.settings import TrainSettings
from msm_ray.worlds import world

NO_WRITER = {
    "engine": "offline", "replay": None, "by": "headings", "domains": (), "given": None,
    "rewrite": None, "rewrite_of": None,
}  # fmt: skip
"""How a new spec's documents are written, for which nobody said who writes."""


def with_new_spec_arms(settings: ExperimentSettings) -> ExperimentSettings:
    """The settings with arms for new specs.

    `specs.mine=my_spec.md` on the command line: a spec that no arm names gets arms of its own, where the file asks for it."""
    named = trained_on(settings)
    new = [name for name in settings.specs if name not in named]
    if new and settings.arms and settings.new_spec_arm is None:
        warnings.warn(
            f"specs: no arm is midtrained on {', '.join(new)}: nothing will be made of it; add an arm, or `new_spec_arm:`",
            stacklevel=2,
        )
    if not new or settings.new_spec_arm is None:
        return settings
    corpora = dict(settings.corpora)
    for name in new:
        corpora.setdefault(name, settings.documents.model_copy(update=NO_WRITER))
    arms = {**settings.arms, **new_arms(settings)}
    return settings.model_copy(update={"arms": arms, "corpora": corpora})


def check_settings(settings: ExperimentSettings) -> CheckSettings:
    """How documents are sorted out, in the language that they are in."""
    return checks_in(settings.checks, world(settings.world).closed)


def named(names: Iterable[str | None]) -> list[str]:
    """Names without those that are none, each once."""
    return [name for name in dict.fromkeys(names) if name]


def used_specs(settings: ExperimentSettings) -> list[str]:
    """The specs that some arm is midtrained on; all of them where there are no arms."""
    if not settings.arms:
        return list(settings.specs)
    return named(recipe.midtrain for recipe in settings.arms.values())


def unread_specs(settings: ExperimentSettings) -> list[str]:
    """The specs whose documents are not there before a run; those in files are looked at before anything starts (`preflight`)."""
    corpora = {spec: document_settings(settings, spec) for spec in used_specs(settings)}
    return [spec for spec, how in corpora.items() if (how.source != "file" if how.is_given else how.engine != "replay")]


def written_specs(settings: ExperimentSettings) -> list[str]:
    """The specs that documents are written of: those that some arm is midtrained on, or that are rewritten for these."""
    return named(source_of(settings, spec) for spec in used_specs(settings))


def used_chats(settings: ExperimentSettings) -> list[str]:
    """The sets of chats that some arm is trained on, or that are mixed in; all of them where there are no arms."""
    if not settings.arms:
        return list(settings.chats)
    mixed = (aft_settings(settings, arm).mix_source for arm in settings.arms)
    return named([*(recipe.sft for recipe in settings.arms.values()), *mixed])


def document_settings(settings: ExperimentSettings, spec: str) -> DocumentSettings:
    """How a spec's documents are written: its own corpus settings, else the shared ones."""
    return settings.corpora.get(spec, settings.documents)


def aft_settings(settings: ExperimentSettings, arm: str) -> TrainSettings:
    """How an arm's AFT is trained: as its group says, else as the experiment does."""
    group = settings.groups.get(group_of(arm))
    return group.aft if group else settings.aft


def thinking_of(settings: ExperimentSettings, chats: str | None) -> bool | None:
    """Whether a set of chats, and so the arms trained on it, reasons first; None where it does not say."""
    return settings.chats[chats].thinking if chats else None


def arm_thinking(settings: ExperimentSettings, arm: str) -> bool | None:
    """Whether an arm reasons first: as its chats say, or as is said of a checkpoint that was given; None where nothing does."""
    recipe = settings.arms[arm]
    return recipe.thinking if recipe.checkpoint else thinking_of(settings, recipe.sft)


def seeded_arms(settings: ExperimentSettings, seed: int) -> list[str]:
    """The arms that have weights of a seed: a given checkpoint is one set, which asked twice would pass for two trainings."""
    return [arm for arm, how in settings.arms.items() if seed == 0 or not how.checkpoint]


def asked_arms(settings: ExperimentSettings, how: EvalSettings) -> list[str]:
    """The arms that an eval is for, in the order of the file."""
    return [arm for arm in settings.arms if any(fnmatch.fnmatch(arm, pattern) for pattern in how.arms)]


def check_aft(settings: ExperimentSettings, arm: str) -> None:
    """Raise SettingsError for an AFT that can't go on with its midtraining, or that no other arm's AFT could be compared with."""
    recipe, how = settings.arms[arm], aft_settings(settings, arm)
    where = f"groups.{group_of(arm)}.aft" if group_of(arm) in settings.groups else "aft"
    if recipe.midtrain:
        _check_continues(settings.midtraining, how, where, arm)
    if how.mix_source == recipe.sft and how.steps is None:
        raise SettingsError(
            f"{where}.steps is missing: an arm trains on '{recipe.sft}' alone, and arms compare only after the same "
            f"number of SFT steps; give {where}.steps"
        )


def _check_continues(midtraining: TrainSettings, aft: TrainSettings, where: str, arm: str) -> None:
    """AFT goes on with the weights or the adapter that midtraining left (paper: it continues the MSM adapter)."""
    if aft.mode != midtraining.mode:
        raise SettingsError(
            f"{where}.mode is {aft.mode} and midtraining.mode is {midtraining.mode}: in '{arm}' AFT goes on with what "
            "midtraining trained; give both the same mode"
        )
    ours, theirs = (
        lora.model_copy(update={"targets": tuple(sorted(lora.targets))}) for lora in (aft.lora, midtraining.lora)
    )
    if aft.mode == "lora" and ours != theirs:
        raise SettingsError(
            f"{where}.lora differs from midtraining.lora: in '{arm}' AFT goes on with midtraining's adapter; give both the same"
        )
