"""What a closed language cannot say: another assistant, a spec with unknown words."""

from __future__ import annotations

from collections.abc import Mapping

from msm_ray import models
from msm_ray.config import ExperimentSettings
from msm_ray.config.recipes import named, used_specs, written_specs
from msm_ray.errors import SettingsError
from msm_ray.spec import Spec
from msm_ray.worlds import world


def check_worlds(settings: ExperimentSettings, specs: Mapping[str, Spec]) -> None:
    """Refuse at once what the languages of base and documents cannot say."""
    check_assistant(settings)
    for name in named([*used_specs(settings), *written_specs(settings)]):
        check_language(settings, specs[name])


def check_assistant(settings: ExperimentSettings) -> None:
    """Raise SettingsError where the base knows no such assistant."""
    if settings.arms:
        world(models.world_of(settings.base.source)).refuse_assistant(settings.assistant.name)


def check_language(settings: ExperimentSettings, spec: Spec) -> None:
    """Raise SettingsError where a spec has words that the documents' language has not."""
    try:
        world(settings.world).refuse_spec(spec)
    except SettingsError as error:
        raise SettingsError(f"specs.{spec.name}: {settings.specs[spec.name]}: {error}") from None
