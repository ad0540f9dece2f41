"""What the Inspect tasks share: items as samples, a solver that asks once and keeps every answer, a scorer by rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from inspect_ai import Epochs, Task, task_with
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


def rerun(task: Task, samples: Sequence[Sample], epochs: int, answers: AnswerFile, how: Asking, judge: Scorer) -> Task:
    """A task of anybody's over some of its samples, each answer kept with what `judge` says of it."""
    own = {key: value for key in ("temperature", "max_tokens") if (value := getattr(how, key)) is not None}
    return task_with(
        copy.copy(task),  # it changes what it is given
        dataset=MemoryDataset(list(samples), name=task.dataset.name),
        solver=ask(answers, task.solver),
        scorer=kept_score(answers, judge),
        metrics=None,
        epochs=Epochs(epochs, []),
        config=task.config.merge(GenerateConfig(**own)),
    )


@solver
def ask(answers: AnswerFile, inner: Solver | None = None) -> Solver:
    """One question, one answer; it is on the disk before the sample goes on.

    What the server refuses for the question's own sake is tried `ATTEMPTS` times and then settled as refused. In an outage
    nothing more is asked. inner: who answers, in as many turns as it likes; the answer is then kept with its score
    (`kept_score`). By default the model answers, at once.
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
        state, message, failure = await _try(state, generate, inner)
        if failure:
            answers.ledger.failed(row, message, failure, lambda: answers.refuse(*row, message))
            raise NoAnswer(message)
        if not inner:
            answers.add(answer_of(state))
            answers.ledger.answered(row)
        return state

    return solve


def answer_of(state: TaskState) -> Answer:
    """What was answered, without a score."""
    tokens = state.output.usage.output_tokens if state.output.usage else 0
    stop, said = str(state.output.stop_reason), reply(state.output)
    return Answer(str(state.sample_id), state.epoch, said.answer, stop, tokens, said.reasoning)


async def _try(state: TaskState, generate: Generate, inner: Solver | None) -> tuple[TaskState, str, str]:
    """Ask until the state has an answer: (state, "", ""), or why it has none and how it failed."""
    question, message, failure = list(state.messages), "", ""
    for _ in range(ATTEMPTS):
        state.messages = list(question)
        try:
            state = await (inner(state, generate) if inner else generate(state))
        except Exception as problem:
            message, failure, _ = classify(problem)
        else:
            if state.output.stop_reason not in FILTERED:
                return state, "", ""
            message, failure = f"{state.output.stop_reason}: {state.output.completion[:200]}", REFUSED
        if failure != REFUSED:
            break
    return state, message, failure


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


@scorer(metrics=[share()])
def kept_score(answers: AnswerFile, judge: Scorer) -> Scorer:
    """What a task's own scorer says, kept with the answer: what was scored before is not scored again."""

    async def score(state: TaskState, target: Target) -> Score:
        row = str(state.sample_id), state.epoch
        kept = answers.get(*row)
        if kept is not None:
            return Score(value=NOANSWER if kept.score is None else kept.score, answer=kept.text, explanation=kept.why)
        try:
            found = await judge(state, target)
        except Exception as problem:
            message, failure, _ = classify(problem)
            answers.ledger.failed(row, f"its scorer: {message}", failure, lambda: answers.refuse(*row, message))
            raise
        value = NOANSWER if found is None else found.value
        plain = value if isinstance(value, str | int | float) else json.dumps(value)
        why = (found and found.explanation) or ""
        answers.add(replace(answer_of(state), score=plain, why=why))
        answers.ledger.answered(row)
        return Score(value=plain, answer=state.output.completion, explanation=why)

    return score
