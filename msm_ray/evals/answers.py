"""Open questions, every arm's answers side by side: shown in the report, not scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai import Task
from inspect_ai.model import GenerateConfig

from msm_ray.config import AnswersEval
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.asking import build_task


def open_answers(items: Sequence[dict[str, Any]], answers: AnswerFile, how: AnswersEval) -> Task:
    """Each question once."""
    config = GenerateConfig(temperature=how.temperature, max_tokens=how.max_tokens)
    return build_task("answers", items, answers, config, None)
