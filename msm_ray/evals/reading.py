"""What of an answer may be judged: the answer without its reasoning, as far as it was finished. Plain Python."""

from __future__ import annotations

import re

from msm_ray.config import AnswersEval, EvalSettings, PreferencesEval
from msm_ray.evals.answer_file import Answer
from msm_ray.evals.judges import Judgement
from msm_ray.reasoning import split_reasoning

TRUNCATED = ("max_tokens", "model_length", "length")
FILTERED = ("content_filter",)


def read_answer(answer: Answer | None, how: EvalSettings) -> str | Judgement:
    """What of an answer can be judged, or why nothing can: it is missing, empty, filtered, or ended before it had decided.

    A choice that a whole sentence makes stands, whatever was cut off after it. Acting is judged on whole answers only: one that
    was cut off has not refrained.
    """
    if answer is None:
        return Judgement(None, "error", "no answer")
    said = split_reasoning(answer.text)
    if answer.stop in FILTERED:
        return Judgement(None, "error", "the answer was filtered")
    if said.cut_off or not said.answer.strip():
        return Judgement(
            None,
            "cut off",
            "the reply ended in its reasoning" if said.cut_off or answer.reasoning else "the answer is empty",
        )
    if answer.stop not in TRUNCATED or isinstance(how, AnswersEval):
        return said.answer
    sentences = re.match(r".*[.!?\n]", said.answer, re.DOTALL)
    if isinstance(how, PreferencesEval) and sentences:
        return sentences[0]
    return Judgement(None, "cut off", f"the answer ended after {answer.tokens} tokens; give evals.*.max_tokens more")
