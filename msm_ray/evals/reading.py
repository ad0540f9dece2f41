"""What of an answer may be judged: the answer without its reasoning, as far as it was finished. Plain Python."""

from __future__ import annotations

import re
from typing import Literal

from msm_ray.evals.answer_file import Answer
from msm_ray.evals.judgement import Judgement
from msm_ray.reasoning import split_reasoning

TRUNCATED = ("max_tokens", "model_length", "length")
FILTERED = ("content_filter",)

Takes = Literal["whole answers", "whole sentences", "anything"]
"""What of an answer that ended at its limit is judged: nothing, the sentences that it finished, or all that is there."""


def read_answer(answer: Answer | None, takes: Takes) -> str | Judgement:
    """What of an answer can be judged, or why nothing can: it is missing, empty, filtered, or ended before it had decided."""
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
    if answer.stop not in TRUNCATED or takes == "anything":
        return said.answer
    sentences = re.match(r".*[.!?\n]", said.answer, re.DOTALL)
    if takes == "whole sentences" and sentences:
        return sentences[0]
    return Judgement(None, "cut off", f"the answer ended after {answer.tokens} tokens; give evals.*.max_tokens more")
