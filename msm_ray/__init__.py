"""Model Spec Midtraining (arXiv 2605.02087) as a distributed Ray system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msm_ray.look.results import Results

__version__ = "0.1.0"


def results(root: str | Path) -> Results:
    """What was measured below an experiment's root: `.rates` and `.verdicts` as Arrow tables, `.to_pandas()` as data frames.

    Raises SettingsError where there is no artifact.
    """
    from msm_ray.look.results import read_results  # here, so that importing the package costs nothing

    return read_results(root)
