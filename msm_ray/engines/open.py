"""The engines of a run: each is opened when it is first asked for, and stays for all that follow."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

from msm_ray.engines import Answer, EngineSettings, Opener, failed
from msm_ray.engines.endpoint import check_address, endpoint_opener
from msm_ray.engines.spending import Spending
from msm_ray.engines.vllm import open_pool, pool_opener, rows_each
from msm_ray.failures import LOST
from msm_ray.own_objects import is_own, own_object
from msm_ray.placement.settings import GenerationSettings

LEAVE_SECONDS, ANSWER_SECONDS = 60, 5


class Engines:
    """Who answers prompts, by settings. workers: of `cluster.generation`; spending: what requests to endpoints may cost.

    need_ray: starts Ray once, before the first engine that needs it. Used in a `with`, or ended by `close`.
    """

    def __init__(
        self,
        workers: GenerationSettings,
        spending: Spending | None = None,
        need_ray: Callable[[], None] = lambda: None,
    ):
        self.workers, self.spending, self.need_ray = workers, spending, need_ray
        self.pools: dict[str, Any] = {}

    def opener(self, settings: EngineSettings, askers: int = 1) -> Opener:
        """What opens an engine in a process that asks it; what all of them share is started here.

        askers: processes that will ask it at the same time, and share what it takes at a time.

        Raises SettingsError or PreflightError when the engine cannot work (no address, no key, no weights, no room). Rows of
        `offline` and `replay` are answered where they are (`engines.offline`, `engines.replay`).
        """
        if is_own(settings.engine):
            return partial(OwnEngine, settings, self.workers, self._share(settings, askers))
        if settings.engine == "vllm":
            self.need_ray()
            if settings.model not in self.pools:
                self.pools[settings.model] = open_pool(settings, self.workers)
            return pool_opener(self.pools[settings.model], settings, self.workers, askers)
        check_address(settings, self.spending)
        self.need_ray()  # rates, keys and the account are shared by all who ask
        return endpoint_opener(settings, self._share(settings, askers), self.spending)

    def rows_at_once(self, settings: EngineSettings) -> int:
        """Rows that all engines of these settings have at the same time, when they are up."""
        if settings.engine == "vllm":
            return rows_each(settings, self.workers) * self.workers.workers
        return self.workers.workers * settings.rows_in_flight

    def _share(self, settings: EngineSettings, askers: int) -> int:
        return math.ceil(self.rows_at_once(settings) / askers)

    def up(self) -> int:
        """vLLM engines that are up now; 0 where nobody says so in time: this is only told."""
        if not self.pools:
            return 0
        import ray

        try:
            counted = ray.get([keeper.counts.remote() for keeper in self.pools.values()], timeout=ANSWER_SECONDS)
        except (ray.exceptions.RayError, TimeoutError):
            return 0
        return sum(counts["up"] for counts in counted)

    def close(self) -> None:
        """End all engines, so that what comes next has their room."""
        pools, self.pools = list(self.pools.values()), {}
        if not pools:
            return
        import ray

        if not ray.is_initialized():
            return
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
            ray.get([keeper.end.remote() for keeper in pools], timeout=LEAVE_SECONDS)
        for keeper in pools:
            ray.kill(keeper)

    def __enter__(self) -> Engines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OwnEngine:
    """An engine of the user's own: their function takes settings and workers, and gives an async function of a row."""

    def __init__(self, settings: EngineSettings, workers: GenerationSettings, in_flight: int):
        self.in_flight = in_flight
        self.theirs: Callable[[Mapping[str, Any]], Awaitable[Answer]] = own_object(settings.engine)(settings, workers)

    async def ready(self) -> None:
        """Theirs to care for: the first answer waits."""

    async def answer(self, row: Mapping[str, Any]) -> Answer:
        """What their function answers; its error is the row's, which is lost then."""
        try:
            return {"error": "", "failure": "", "num_input_tokens": 0, "num_generated_tokens": 0} | await self.theirs(
                row
            )
        except Exception as problem:
            return failed(f"{type(problem).__name__}: {problem}", LOST)

    async def close(self) -> None:
        """Nothing is held."""
