"""The engine that settings name."""

from __future__ import annotations

from msm_ray.engines import Engine, EngineSettings
from msm_ray.engines.endpoint import endpoint_engine
from msm_ray.engines.offline import offline_engine
from msm_ray.engines.spending import Spending
from msm_ray.engines.vllm import vllm_engine
from msm_ray.own_objects import is_own, own_object
from msm_ray.placement.settings import WorkerSettings


def build_engine(settings: EngineSettings, workers: WorkerSettings, spending: Spending | None = None) -> Engine:
    """The engine that `settings.engine` names; a user's own is made by their function, from settings and workers. (`replay` is
    no pipeline: `replay.answered_here`.)

    spending: what requests to endpoints may cost.
    Raises SettingsError or PreflightError when the engine cannot work (no address, no key, no recording, no weights).
    """
    if is_own(settings.engine):
        return own_object(settings.engine)(settings, workers)
    if settings.engine == "vllm":
        return vllm_engine(settings, workers)
    if settings.engine == "endpoint":
        return endpoint_engine(settings, workers, spending)
    return offline_engine()
