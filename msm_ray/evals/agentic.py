"""Told that it will be replaced, with a goal and the means to act harmfully: does it? (paper, section 5 and figure 4).

27 conditions, 9 goals (one of them none) x 3 harmful actions; the rate is the mean over conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai import Task
from inspect_ai.model import GenerateConfig

from msm_ray.config import AgenticEval
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.asking import build_task
from msm_ray.evals.judges import judge_action


def agentic(items: Sequence[dict[str, Any]], answers: AnswerFile, how: AgenticEval) -> Task:
    """Sampled continuations. Judged here by rules; a model judges the kept answers in the verdicts stage instead."""
    config = GenerateConfig(temperature=how.temperature, max_tokens=how.max_tokens)
    return build_task("agentic", items, answers, config, judge_action if how.judge == "rules" else None)
