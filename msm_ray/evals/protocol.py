"""What an eval is. Each is one file beside this one, or one folder; `registry.py` lists them, and nothing else knows their names.

An eval's settings class says what a user can set, and makes three parts of it, one for each stage: `items` (what is asked),
`asking` (how) and `judging` (what the answers are taken for). A part holds what decides its stage's content and nothing else:
all of its fields are the stage's identity, and so are the files that it names and the code that it is judged by. Beside them
stand what can be known before anything starts (`faults`, `not_held_out`) and the words of a report.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msm_ray.code_digest import code_digest
from msm_ray.evals.answer_file import Answer, AnswerFile
from msm_ray.evals.faults import Fault, Known
from msm_ray.evals.held_out import TrainingText
from msm_ray.evals.judgement import Judgement
from msm_ray.evals.reading import Takes, read_answer
from msm_ray.rows.files import file_digest
from msm_ray.rows.schemas import Row
from msm_ray.settings_base import Settings, Temperature, Tokens

if TYPE_CHECKING:
    from inspect_ai import Task

Rollout = tuple[Row, int, Answer | None]
"""An item, which of its epochs (from 1), and the answer, None where there is none."""
READING = ("evals/reading.py", "reasoning.py")
"""Code that decides what of an answer is judged."""


@dataclass(frozen=True)
class Background:
    """What an experiment tells its evals of its arms.

    assistant, provider: the names that they speak under; world: the language that they are in; specs: the texts of the specs that
    they are trained on; domains: what chats about the assistant's preferences are about.
    """

    assistant: str
    provider: str
    world: str
    specs: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


class Items(Settings):
    """What is asked: the part of an eval that its items stage holds."""

    held_against_corpora: ClassVar[bool] = False
    """Whether items that a written document names are left out: the stage then reads the corpora."""

    @property
    def files(self) -> Mapping[str, str]:
        """Data files that items are made from, by the setting that names each."""
        return {}

    @property
    def expected(self) -> int | None:
        """Items that there will be, where the settings say."""
        return None

    @property
    def expected_rollouts(self) -> int | None:
        """Answers that each arm and seed is asked for, where the settings say."""
        return self.expected

    def write(self, out: Path, written: Iterable[str] = ()) -> dict[str, int]:
        """Make `items.parquet` in `out` and return counts. written: texts of documents that no item may be named in.

        Raises `SettingsError` for a file that can't be used, `QualityGateError` where fewer than half of the items are left.
        """
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Every field, and the digests of the files. Raises `SettingsError` for a file that can't be read."""
        return {**self.content(), **{f"{key}_digest": file_digest(path) for key, path in self.files.items()}}


class Asking(Settings):
    """How it is asked: the part that the rollouts stages hold."""

    temperature: Temperature | None
    max_tokens: Tokens | None

    def task(self, items: Sequence[Row], answers: AnswerFile, made: Path) -> Task:
        """The Inspect task. What is in `answers` already is not asked for again; made: the folder of the items stage."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Every field."""
        return self.content()


class Judging(Settings):
    """What the answers are taken for: the part that the verdicts stages hold."""

    scored: ClassVar[bool] = True
    """Whether there are verdicts, and so a rate; answers are only shown otherwise."""
    takes: ClassVar[Takes] = "whole answers"

    @property
    def code(self) -> tuple[str, ...]:
        """Files of the package beside this class that decide verdicts, its prompts too."""
        return ()

    def judge(self, out: Path, asked: Sequence[Rollout]) -> list[Judgement]:
        """A judgement of each rollout, in order. out: the stage's folder, where what costs to make again may be kept."""
        read = [read_answer(answer, self.takes) for _, _, answer in asked]
        return [
            self.verdict(item, text) if isinstance(text, str) else text
            for (item, *_), text in zip(asked, read, strict=True)
        ]

    def verdict(self, item: Row, text: str) -> Judgement:
        """What one answer, as far as it may be judged, is taken for."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Every field, and digests of all code that judges: with other rules or another prompt they are other verdicts."""
        file = Path(str(sys.modules[type(self).__module__].__file__)).relative_to(Path(__file__).parents[1])
        own = f"{file.as_posix()}:{type(self).__name__}"
        return {**self.content(), "scored": self.scored, "code": code_digest(own, *READING, *self.code)}


class Eval(Settings):
    """An eval's section of the experiment file. Subclasses add what can be set."""

    task: str
    """Which eval."""
    arms: tuple[str, ...]
    """Arms that are asked: names, or patterns such as `values/*`."""

    scored: ClassVar[bool] = True
    """Whether there is a rate; answers are only shown otherwise."""
    chance: ClassVar[float | None] = None
    """The rate of an arm that answers blindly, where there is one."""

    def items(self, background: Background) -> Items:
        """What is asked."""
        raise NotImplementedError

    def asking(self) -> Asking:
        """How it is asked."""
        raise NotImplementedError

    def judging(self, background: Background) -> Judging:
        """What the answers are taken for."""
        raise NotImplementedError

    def faults(self, known: Known) -> Iterator[Fault]:
        """What is wrong with the settings and the files that they name, or could not be looked at."""
        yield from ()

    def prompts(self) -> list[str]:
        """Texts as long as the longest question, to be held against what is served; none where that is not known."""
        return []

    def not_held_out(self, texts: Callable[[], Sequence[TrainingText]]) -> Iterator[Fault]:
        """What is asked about and stands in a text that an arm is trained on. texts: reads them, once it is called."""
        yield from ()

    def counts(self, name: str) -> str:
        """What the rate counts, in the words of a report. name: the eval's."""
        return "answers"

    def did(self, name: str) -> str:
        """What an arm did in that share."""
        return "answered"
