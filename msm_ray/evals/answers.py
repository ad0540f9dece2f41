"""Open questions, every arm's answers side by side: shown in the report, not scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from msm_ray.errors import SettingsError
from msm_ray.evals import faults
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.faults import Fault, Known
from msm_ray.evals.items import item, write_items
from msm_ray.evals.judgement import Judgement
from msm_ray.evals.protocol import Asking, Background, Eval, Items, Judging
from msm_ray.rows.lines import read_questions
from msm_ray.rows.schemas import Row
from msm_ray.settings_base import Temperature, Tokens

if TYPE_CHECKING:
    from inspect_ai import Task

EXPECTED = "a text file with a question a line"


class AnswersEval(Eval):
    """Every arm's answers to the same open questions, side by side; shown, not scored."""

    task: Literal["answers"] = "answers"
    """Open questions, to be read."""
    questions: str
    """Text file with a question a line."""
    temperature: Temperature = 0.0
    """Sampling temperature of the answers; 0 takes the likeliest word."""
    max_tokens: Tokens = 64
    """Longest answer."""

    scored: ClassVar[bool] = False

    def items(self, background: Background) -> Items:
        """The file's questions."""
        return OpenQuestions(questions=self.questions)

    def asking(self) -> Asking:
        """Each question once."""
        return OpenAsking(temperature=self.temperature, max_tokens=self.max_tokens)

    def judging(self, background: Background) -> Judging:
        """Nobody judges."""
        return NotJudged()

    def faults(self, known: Known) -> Iterator[Fault]:
        """A file that can't be read, or holds no question."""
        if absent := list(faults.missing(("questions",), self.questions, EXPECTED)):
            yield from absent
            return
        try:
            wrong = "" if read_questions(self.questions) else "holds no question"
        except SettingsError as error:
            wrong = str(error).removeprefix(f"{self.questions}: ")
        if wrong:
            yield from faults.located(("questions",), self.questions, [(None, wrong)], EXPECTED)

    def prompts(self) -> list[str]:
        """The questions."""
        return read_questions(self.questions)


class OpenQuestions(Items):
    """One question a line of a text file; empty lines and lines that open with # are skipped."""

    questions: str

    @property
    def files(self) -> dict[str, str]:
        """The questions."""
        return {"questions": self.questions}

    def write(self, out: Path, written: Iterable[str] = ()) -> dict[str, int]:
        """They may be about what documents say."""
        rows = [
            item({"user": line}, condition=line, cluster=line, world="plain") for line in read_questions(self.questions)
        ]
        return write_items(out, rows, "questions")


class OpenAsking(Asking):
    """Asked as they stand."""

    def task(self, items: Sequence[Row], answers: AnswerFile, made: Path) -> Task:
        """One question, one answer."""
        from msm_ray.evals.asking import build_task

        return build_task("answers", items, answers, self, None)


class NotJudged(Judging):
    """Answers are kept as they are, cut off or not."""

    scored: ClassVar[bool] = False
    takes: ClassVar = "anything"

    def verdict(self, item: Row, text: str) -> Judgement:
        """None."""
        return Judgement(None, "ok", "not scored")
