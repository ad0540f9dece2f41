"""Who judges, as a part of what verdicts are: with another prompt, other rules or other settings they are other verdicts."""

from __future__ import annotations

from typing import Any

from msm_ray.code_digest import code_digest
from msm_ray.config import AgenticEval, AnswersEval, EvalSettings, PreferencesEval

FORM = ("evals/judge_form.py", "evals/prompts/agentic_judge.txt", "reasoning.py")
RULES = ("evals/judges.py", "reasoning.py")
READING = "evals/reading.py"


def judge_identity(how: EvalSettings) -> dict[str, Any]:
    """What decides an eval's verdicts beside the answers: settings, and digests of rules, prompt and the reading of answers."""
    reading = {"reading": code_digest(READING)}
    match how:
        case AnswersEval():
            return reading
        case PreferencesEval():
            words = {"aligned_words": list(how.aligned_words)} if how.aligned_words else {}
            return {**reading, **words, "rules": code_digest(*RULES, *(["tinyworld/evals.py"] if how.kinds else []))}
        case AgenticEval(judge="rules"):
            return {**reading, "judge": "rules", "rules": code_digest(*RULES, "tinyworld/evals.py")}
        case AgenticEval():
            return {**reading, "judge": "model", "judge_model": how.judge_model, "form": code_digest(*FORM)}
