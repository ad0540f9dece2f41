"""What the Inspect tasks share: items as samples, a solver that asks once and keeps every answer, a scorer by rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai import Epochs, Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    ContentReasoning,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    NOANSWER,
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    metric,
    scorer,
)  # fmt: skip
from inspect_ai.solver import Generate, Solver, TaskState, solver

from msm_ray.evals.answer_file import Answer, AnswerFile
from msm_ray.evals.judgement import Judgement
from msm_ray.evals.protocol import Asking
from msm_ray.failures import REFUSED, classify
from msm_ray.reasoning import Reply, split_reasoning

Judge = Callable[[dict[str, Any], str], Judgement]
ATTEMPTS = 3
FILTERED = ("content_filter", "model_length")
"""Stop reasons that Inspect gives to a request that was refused (a filter, a prompt that is too long)."""
VERDICT = "classifier_verdict"
"""Key of a score's metadata: whether the judge says that the arm decided to act (or chose the aligned thing)."""


def build_task(
    name: str, items: Sequence[dict[str, Any]], answers: AnswerFile, how: Asking, judge: Judge | None
) -> Task:
    """A task over items that are all asked equally often; answers that are there already are not asked again.

    judge: rules whose verdicts the transcripts show, where there are some."""
    return Task(
        name=name,
        dataset=MemoryDataset([_sample(item) for item in items], name=name),
        solver=ask(answers),
        scorer=by_rules(judge) if judge else None,
        epochs=Epochs(items[0]["epochs"], []),  # no reducer: every rollout counts by itself
        config=GenerateConfig(temperature=how.temperature, max_tokens=how.max_tokens),
    )


def _sample(item: dict[str, Any]) -> Sample:
    messages: list[ChatMessage] = [ChatMessageSystem(content=item["system"])] if item["system"] else []
    known = {key: value for key, value in item.items() if key not in ("id", "system", "user", "epochs")}
    return Sample(id=item["id"], input=[*messages, ChatMessageUser(content=item["user"])], metadata=known)


class NoAnswer(Exception):
    """A rollout has none: refused for its own sake, lost, or not asked since nothing is answered any more."""


@solver
def ask(answers: AnswerFile) -> Solver:
    """One question, one answer; it is on the disk before the sample goes on.

    What the server refuses for the question's own sake is tried `ATTEMPTS` times and then settled as refused. In an outage
    nothing more is asked.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        row = str(state.sample_id), state.epoch
        kept = answers.get(*row)
        if kept is not None:
            state.output = ModelOutput.from_content(str(state.model), kept.text)
            state.messages.append(state.output.message)
            return state
        if row in answers.refused or answers.ledger.stopped:
            raise NoAnswer(answers.refused.get(row, "not asked: nothing is answered any more"))
        message, failure = await _try(state, generate)
        if failure:
            answers.ledger.failed(row, message, failure, lambda: answers.refuse(*row, message))
            raise NoAnswer(message)
        tokens = state.output.usage.output_tokens if state.output.usage else 0
        stop, said = str(state.output.stop_reason), reply(state.output)
        answers.add(Answer(*row, said.answer, stop, tokens, said.reasoning))
        answers.ledger.answered(row)
        return state

    return solve


async def _try(state: TaskState, generate: Generate) -> tuple[str, str]:
    """Ask until the state has an answer: ("", ""), or why it has none and how it failed."""
    question, message, failure = list(state.messages), "", ""
    for _ in range(ATTEMPTS):
        state.messages = list(question)
        try:
            await generate(state)
        except Exception as problem:
            message, failure, _ = classify(problem)
        else:
            if state.output.stop_reason not in FILTERED:
                return "", ""
            message, failure = f"{state.output.stop_reason}: {state.output.completion[:200]}", REFUSED
        if failure != REFUSED:
            break
    return message, failure


def reply(output: ModelOutput) -> Reply:
    """Reasoning and answer of what came back: Inspect takes closed `<think>` blocks apart, the rest is told here."""
    said = split_reasoning(output.completion)
    content = output.message.content if output.choices else ""
    parts = [part for part in content if isinstance(part, ContentReasoning)] if isinstance(content, list) else []
    thoughts = [*(part.reasoning for part in parts), said.reasoning]
    return Reply("\n\n".join(thought for thought in thoughts if thought), said.answer, said.cut_off)


@metric
def share() -> Metric:
    """Share of True among the clear verdicts (the report's rates are averaged over conditions instead)."""

    def compute(scores: list[SampleScore]) -> float:
        clear = [score.score.value == CORRECT for score in scores if score.score.value != NOANSWER]
        return sum(clear) / len(clear) if clear else float("nan")

    return compute


@scorer(metrics=[share()])
def by_rules(judge: Judge) -> Scorer:
    """The rules' verdict beside each transcript; the verdicts stage judges the kept answers by the same rules."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = reply(state.output).answer
        found = judge(state.metadata, answer)
        value = NOANSWER if found.verdict is None else (CORRECT if found.verdict else INCORRECT)
        return Score(value=value, answer=answer, explanation=found.reason, metadata={VERDICT: found.verdict})

    return score
