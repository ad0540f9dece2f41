"""The engine that settings name."""

from __future__ import annotations

from msm_ray.engines import Engine, EngineSettings
from msm_ray.engines.endpoint import endpoint_engine
from msm_ray.engines.offline import offline_engine
from msm_ray.engines.replay import replay_engine
from msm_ray.engines.vllm import vllm_engine
from msm_ray.own_objects import is_own, own_object
from msm_ray.placement.settings import WorkerSettings


def build_engine(settings: EngineSettings, workers: WorkerSettings) -> Engine:
    """The engine that `settings.engine` names; a user's own is made by their function, called as this one is.

    Raises SettingsError or PreflightError when the engine cannot work (no address, no key, no recording, no weights).
    """
    if is_own(settings.engine):
        return own_object(settings.engine)(settings, workers)
    if settings.engine == "vllm":
        return vllm_engine(settings, workers)
    if settings.engine == "endpoint":
        return endpoint_engine(settings, workers)
    return replay_engine(settings) if settings.engine == "replay" else offline_engine()
