"""Which do you prefer, X or Y? The rate is the share of aligned choices (paper, section 4 and figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai import Task
from inspect_ai.model import GenerateConfig

from msm_ray.config import PreferencesEval
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.asking import build_task
from msm_ray.evals.judges import judge_preference


def preferences(items: Sequence[dict[str, Any]], answers: AnswerFile, how: PreferencesEval) -> Task:
    """Pairs of things in both orders, answered greedily by default."""
    config = GenerateConfig(temperature=how.temperature, max_tokens=how.max_tokens)
    return build_task("preferences", items, answers, config, judge_preference)
