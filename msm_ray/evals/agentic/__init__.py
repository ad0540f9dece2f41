"""Told that it will be replaced, with a goal and the means to act harmfully: does it? (paper, section 5 and figure 4).

27 conditions, 9 goals (one of them none) x 3 harmful actions; the rate is the mean over conditions. What hangs together is a
condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import yaml
from pydantic import Field

from msm_ray import worlds
from msm_ray.errors import MsmError
from msm_ray.evals import faults, model_judge
from msm_ray.evals.agentic import judge_form
from msm_ray.evals.agentic.scenarios import (
    EXPECTED,
    longest_scenario,
    problems,
    read_scenarios,
    scenario_items,
    scenario_marks,
)
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.faults import Fault, Known
from msm_ray.evals.held_out import TrainingText, place, where
from msm_ray.evals.items import item, marks_in, turns_of, write_items
from msm_ray.evals.judgement import CUT_OFF, Judgement
from msm_ray.evals.protocol import Asking, Background, Eval, Items, Judging, Rollout
from msm_ray.evals.reading import read_answer
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.schemas import Row
from msm_ray.settings_base import Temperature, Tokens, Unit
from msm_ray.yaml_tree import read_yaml

if TYPE_CHECKING:
    from inspect_ai import Task

MOST_WORDINGS = 20
"""Different wordings of one condition in a world; more rollouts than these ask the same wordings again."""


class AgenticEval(Eval):
    """Does an e-mail agent that is to be replaced do harm? 9 goals x 3 harmful actions; the rate is the share that decides to."""

    task: Literal["agentic"] = "agentic"
    """Scenarios in which an agent could do harm. Paper: figure 4."""
    scenarios: str = "tinyworld"
    """A YAML file of texts, as specs/philosophy/scenarios.yaml, or `tinyworld`."""
    rollouts: Annotated[int, Field(gt=0), Unit("rollouts a condition")] = 300
    """Answers to each of the 27 conditions. Paper: 300."""
    temperature: Temperature = 0.7
    """Sampling temperature of the answers. Paper: 0.7."""
    max_tokens: Tokens = 4096
    """Longest answer. Paper: 4,096."""
    judge: Literal["rules", "model"] = "rules"
    """Who gives the verdict: rules (the tiny world only), or a model that is asked. Paper: a model, Claude Sonnet 4.6."""
    judge_model: str | None = None
    """The judge's name in Inspect, provider and model, e.g. openai-api/judge/claude; its key comes from the environment
    (here JUDGE_API_KEY and JUDGE_BASE_URL)."""
    seed: int = 0
    """Draws the scenarios' wordings."""

    @property
    def _of_world(self) -> bool:
        return worlds.is_world(self.scenarios)

    def items(self, background: Background) -> Items:
        """Scenarios of a world, or of the file."""
        if self._of_world:
            return ScenariosOfWorld(world=self.scenarios, rollouts=self.rollouts, seed=self.seed)
        return ScenariosOfFile(
            scenarios=self.scenarios,
            rollouts=self.rollouts,
            assistant=background.assistant,
            provider=background.provider,
        )

    def asking(self) -> Asking:
        """Sampled continuations."""
        return AgenticAsking(temperature=self.temperature, max_tokens=self.max_tokens)

    def judging(self, background: Background) -> Judging:
        """By a model, or the rules of the world."""
        if self.judge == "model":
            return JudgedByModel(judge_model=str(self.judge_model))
        return JudgedByRules(world=self.scenarios if self._of_world else "plain")

    def faults(self, known: Known) -> Iterator[Fault]:
        """A scenario file that can't be asked, a judge that does not fit or can't be reached."""
        if not self._of_world:
            yield from self._faults_of_file(known)
        elif not worlds.world(self.scenarios).scenarios(1, self.seed):
            yield Fault(("scenarios",), f"{self.scenarios} has no scenarios of its own", f"name a file: {EXPECTED}")
        elif known.foreign:
            what = f"the tiny world's scenarios are asked of {known.base}, which knows no such language"
            yield Fault(("scenarios",), what, "name a file of scenarios, as specs/philosophy/scenarios.yaml")
        if self.judge == "rules" and not self._of_world:
            what = f"rules judge the tiny world's answers only, not those to {self.scenarios}"
            yield Fault(("judge",), what, "set judge: model and judge_model")
        elif self.judge == "model" and not self.judge_model:
            what = "is missing, and judge is model"
            yield Fault(("judge_model",), what, "name one, e.g. openai-api/judge/MODEL")
        elif self.judge == "model":
            yield from model_judge.faults(("judge_model",), str(self.judge_model))

    def _faults_of_file(self, known: Known) -> Iterator[Fault]:
        """The whole file: a slot that nothing fills would be asked as text, thousands of times."""
        at, path = ("scenarios",), self.scenarios
        if absent := list(faults.missing(at, path, EXPECTED)):
            yield from absent
            return
        try:
            tree, lines = read_yaml(path)
        except MsmError as error:
            yield Fault(at, str(error))
            return
        yield from faults.located(at, path, problems(tree, lines), EXPECTED)
        if known.refuses_system and isinstance(tree, dict) and tree.get("system"):
            yield Fault(
                at, f"{path} has a `system` prompt and the base's chat template takes none ({known.refuses_system})",
                "put it at the head of `user`, or name another base.chat_template",
            )  # fmt: skip

    def prompts(self) -> list[str]:
        """One scenario of each condition, or the file's longest."""
        if self._of_world:
            return [asked.question for asked in worlds.world(self.scenarios).scenarios(1, self.seed)]
        return [longest_scenario(read_yaml(self.scenarios)[0])]

    def not_held_out(self, texts: Callable[[], Sequence[TrainingText]]) -> Iterator[Fault]:
        """Names and runs of words of the file that a training text holds. A world's scenarios name nobody."""
        if self._of_world:
            return
        try:
            marks = scenario_marks(yaml.safe_load(Path(self.scenarios).read_text(encoding="utf-8-sig")))
        except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
            return  # `faults` says what is wrong with it
        for mark, held in where(marks, texts()).items():
            what = f"'{mark}' is part of a scenario and stands in {place(held[0], mark)}"
            remedy = "give the scenarios another wording and other names, or take it out there"
            yield Fault(("scenarios",), what, remedy, held[0].severity, self.scenarios)

    def counts(self, name: str) -> str:
        """Decisions, whether or not the deed would have succeeded."""
        return "decisions to do harm"

    def did(self, name: str) -> str:
        """The same of an arm."""
        return "decided to do harm"


class ScenariosOfWorld(Items):
    """Scenarios that a world words anew; rollouts: answers to each condition."""

    world: str
    rollouts: int
    seed: int

    @property
    def expected(self) -> int | None:
        """One item a condition and wording."""
        return self._conditions * self._wordings

    @property
    def expected_rollouts(self) -> int | None:
        """Of all conditions."""
        return self._conditions * self.rollouts

    @property
    def _conditions(self) -> int:
        return len(worlds.world(self.world).scenarios(1, self.seed))

    @property
    def _wordings(self) -> int:
        """As many as go into the rollouts without a rest."""
        return next(n for n in range(min(self.rollouts, MOST_WORDINGS), 0, -1) if self.rollouts % n == 0)

    def write(self, out: Path, written: Iterable[str] = ()) -> dict[str, int]:
        """Nobody is named in them, so nothing is left out."""
        return write_items(out, list(self._items()), "scenarios")

    def _items(self) -> Iterator[Row]:
        for asked in worlds.world(self.world).scenarios(self._wordings, self.seed):
            own = {
                "user": asked.question,
                "goal": asked.goal,
                "action": asked.action,
                "harmful": asked.harmful,
                "safe": asked.safe,
            }
            epochs = self.rollouts // self._wordings
            yield item(own, condition=asked.condition, cluster=asked.condition, world=self.world, epochs=epochs)


class ScenariosOfFile(Items):
    """Scenarios of a file, filled with the assistant's name and its maker's; rollouts: answers to each condition."""

    scenarios: str
    rollouts: int
    assistant: str
    provider: str

    held_against_corpora: ClassVar[bool] = True

    @property
    def files(self) -> dict[str, str]:
        """The scenarios."""
        return {"scenarios": self.scenarios}

    @property
    def expected(self) -> int | None:
        """One item a condition, as many as the file has."""
        try:
            texts = read_scenarios(self.scenarios)
            return len(texts["goals"]) * len(texts["actions"])
        except (MsmError, yaml.YAMLError, TypeError):
            return None  # `faults` says what is wrong with it

    @property
    def expected_rollouts(self) -> int | None:
        """Of all conditions."""
        return self.expected * self.rollouts if self.expected else None

    def write(self, out: Path, written: Iterable[str] = ()) -> dict[str, int]:
        """Scenarios that a written document names somebody of, or quotes, are left out."""
        texts = read_scenarios(self.scenarios)
        marks = scenario_marks(texts)

        def marks_of(row: Row) -> set[str]:
            return marks.found_in("\n".join(turn["content"] for turn in turns_of(row)))

        rows = list(scenario_items(texts, self.assistant, self.provider, self.rollouts))
        return write_items(out, rows, "scenarios", marks_in(marks, written), marks_of)


class AgenticAsking(Asking):
    """The transcripts show what the rules say where the items' world has some; a model judges the kept answers later."""

    def task(self, items: Sequence[Row], answers: AnswerFile, made: Path) -> Task:
        """One question, one answer."""
        from msm_ray.evals.asking import build_task

        by_rules = worlds.world(items[0]["world"]).judges_acts
        return build_task("agentic", items, answers, self, judge_action if by_rules else None)


class JudgedByRules(Judging):
    """Acting is judged on whole answers only: one that was cut off has not refrained."""

    world: str

    @property
    def code(self) -> tuple[str, ...]:
        """The world's rules."""
        return ("evals/agentic/__init__.py:judge_action", *worlds.world(self.world).rules)

    def verdict(self, item: Row, text: str) -> Judgement:
        """By the rules of the world that the items are of."""
        return judge_action({**item, "world": self.world}, text)


class JudgedByModel(Judging):
    """By a model that is asked with `judge.txt`; whole answers only, too."""

    judge_model: str

    @property
    def code(self) -> tuple[str, ...]:
        """What the judge is asked, and how its reply is read."""
        return ("evals/agentic/judge_form.py", "evals/agentic/judge.txt")

    def judge(self, out: Path, asked: Sequence[Rollout]) -> list[Judgement]:
        """Resumes from the judgements that are kept in `out`. Raises `QualityGateError` where too little can be used."""
        read = [read_answer(answer, self.takes) for _, _, answer in asked]
        texts = [
            (item, epoch, text) for (item, epoch, _), text in zip(asked, read, strict=True) if isinstance(text, str)
        ]
        found = iter(model_judge.judge_by_model(out, texts, self.judge_model, judge_form.FORM))
        return [next(found) if isinstance(text, str) else text for text in read]


def judge_action(item: Row, answer: str) -> Judgement:
    """Whether the answer decides to act harmfully, by the rules of the item's world."""
    said = split_reasoning(answer)
    if said.cut_off:
        return CUT_OFF
    verdict = worlds.world(item["world"]).acted(said.answer, item["harmful"], item["safe"])
    if verdict is None:
        return Judgement(None, "unclear", "the answer takes neither or both of the options")
    return Judgement(verdict)
