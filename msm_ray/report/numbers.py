"""Rates and differences on their way into `report.json`, which knows no NaN, and out of it again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from msm_ray.stats import Difference, Rate

ABSENT = ("condition", "p", "p_at_bounds", "p_holm", "word")
"""What may be missing; null in any other number stands for NaN."""
Made = TypeVar("Made", Rate, Difference)


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """What has no value is null: JSON has no NaN."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def restored(kind: type[Made], row: Mapping[str, Any]) -> Made:
    """A rate or difference as it was before `report.json`. Raises TypeError for a row of another version."""
    return kind(**{key: _restored(key, value) for key, value in row.items()})


def _restored(key: str, value: Any) -> Any:
    if value is None and key not in ABSENT:
        return math.nan
    return tuple(value) if isinstance(value, list) else value


def read_numbers(report: Mapping[str, Any]) -> tuple[tuple[Rate, ...], tuple[Difference, ...]]:
    """Rates and differences of a `report.json`. Raises TypeError or KeyError for one of another version."""
    rates = tuple(restored(Rate, row) for row in report["rates"])
    return rates, tuple(restored(Difference, row) for row in report["differences"])
