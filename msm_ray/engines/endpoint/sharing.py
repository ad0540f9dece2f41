"""What all askers of an address share, wherever they run: its keys, their rates, the account. Opened on the driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msm_ray.engines.endpoint.asking import Asker
from msm_ray.engines.endpoint.batches import BatchAsker, Batches
from msm_ray.engines.endpoint.keys import read_keys
from msm_ray.engines.endpoint.rates import Limits
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.shared import Shared
from msm_ray.engines.spending import Spending
from msm_ray.errors import SettingsError


@dataclass(frozen=True)
class Address:
    """An address that is ready to be asked; may be sent to Ray's workers. keys: where Ray keeps them, so that no log has them."""

    settings: EngineSettings
    keys: Any = field(repr=False)
    limits: Shared
    account: Shared | None
    batches: Shared | None = None

    def asker(self, in_flight: int | None = None) -> Asker | BatchAsker:
        """Who asks it from this process, with so many rows at the same time; by batches with those of a whole one."""
        import ray

        if self.batches:
            return BatchAsker(self.settings, self.batches)
        return Asker(self.settings, ray.get(self.keys), self.limits, self.account, in_flight)


def check_address(settings: EngineSettings, spending: Spending | None = None) -> None:
    """Raises SettingsError without address, model, or the prices that a limit needs; PreflightError without a key."""
    where = settings.section
    if not settings.url:
        raise SettingsError(
            f"{where}.engine is `endpoint` and {where}.url is missing: give the base address, such as https://host/v1."
        )
    if not settings.model:
        raise SettingsError(
            f"{where}.engine is `endpoint` and {where}.model is missing: name the model as the address knows it."
        )
    read_keys(settings)
    if settings.batch and (spending is None or spending.journal is None):
        raise SettingsError(f"{where}.batch needs a root, below which the ids of batches are kept")
    if spending is None or spending.limit is None:
        return
    if settings.prices is None:
        raise SettingsError(
            f"writer.spend_limit is set and the prices of {settings.model} are not known; give {where}.prices"
        )
    if spending.limit == 0 and any(settings.prices):
        raise SettingsError(
            f"writer.spend_limit is 0, so nothing may be spent, and {settings.model} has to be paid: raise the limit, leave it "
            "out, or take another engine"
        )


def open_address(settings: EngineSettings, spending: Spending | None = None) -> Address:
    """What askers of `settings.url` need. Limits and account are those of the run: whoever opens them again gets the same."""
    import ray

    keys = read_keys(settings)
    run = spending or Spending()
    rates = (settings.requests_per_minute, settings.tokens_per_minute)
    limits = run.shared((settings.url, settings.model, settings.key_variable, *rates), Limits, len(keys), *rates)
    account = run.open() if spending and settings.prices else None
    batches = None
    if settings.batch:
        name = ("batches", settings.url, settings.key_variable)
        batches = run.shared(name, Batches, settings, keys, run.batches, account)
    return Address(settings, ray.put(keys), limits, account, batches)


def endpoint_opener(
    settings: EngineSettings, in_flight: int, spending: Spending | None = None
) -> Callable[[], Asker | BatchAsker]:
    """Opens an asker in the process that asks, with so many rows in flight. Needs Ray; raises what `check_address` does."""
    check_address(settings, spending)
    return partial(open_address(settings, spending).asker, in_flight)
