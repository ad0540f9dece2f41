"""The engine that settings name, and what it is called in what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msm_ray.config import DocumentSettings, WorkerSettings
from msm_ray.engines import DETERMINISTIC, Engine

if TYPE_CHECKING:
    from msm_ray.spec import Spec


def build_engine(
    settings: DocumentSettings,
    workers: WorkerSettings,
    model: str,
    specs: Mapping[str, Spec],
    seed: int,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Engine:
    """The engine that `settings.engine` names. model: what is asked; specs: by digest, for the offline writer.

    chat_template_kwargs: of the experiment, for writers that are asked in chats.

    Raises SettingsError or PreflightError when the engine cannot work (no address, no key, no recording, no weights).
    """
    if settings.engine == "vllm":
        from msm_ray.engines.vllm import vllm_engine

        return vllm_engine(settings, workers, model, seed, chat_template_kwargs or {})
    if settings.engine == "endpoint":
        from msm_ray.engines.endpoint import endpoint_engine

        return endpoint_engine(settings, workers, model, chat_template_kwargs or {})
    if settings.engine == "replay":
        from msm_ray.engines.replay import replay_engine

        return replay_engine(settings)
    from msm_ray.engines.offline import offline_engine

    return offline_engine(settings, specs)


def generator_name(settings: DocumentSettings, model: str) -> str:
    """What stands as `generator` in the rows: the model, or the engine where no model writes."""
    if settings.engine in DETERMINISTIC:
        return settings.engine
    return model.rstrip("/").rpartition("/")[2] or model
