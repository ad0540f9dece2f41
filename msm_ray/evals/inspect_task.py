"""Any Inspect task, from a file outside this package: its own samples, solver and scorer. The rate is the mean of its scores.

Samples may say in their metadata what they are in the statistics: `condition` (every condition weighs the same), `cluster` (what
hangs together, such as a domain; else each sample by itself), `unit` (what is one draw), and `names` (what no training text may
hold).
The file is loaded, and so run, by `msm plan` too: what is wrong with it is told before anything is trained.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from msm_ray.errors import SettingsError, StageError
from msm_ray.evals import faults
from msm_ray.evals.answer_file import AnswerFile
from msm_ray.evals.faults import Fault, Known
from msm_ray.evals.held_out import Marks, TrainingText, place, where
from msm_ray.evals.items import item, marks_in, turns_of, write_items
from msm_ray.evals.judgement import Judgement
from msm_ray.evals.protocol import Asking, Background, Eval, Items, Judging, Rollout
from msm_ray.rows.lines import read_text
from msm_ray.rows.schemas import Row
from msm_ray.settings_base import Temperature, Tokens, Unit

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample

EXPECTED = "a Python file with an Inspect task (a function under @task)"
FOLDER = "task"
"""Where the items stage keeps the file as it was: rollouts run that."""
SHARES = {"C": 1.0, "P": 0.5, "I": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
"""What Inspect's own scorers say, as numbers; "N" is no answer."""
Arguments = dict[str, str | bool | int | float]


class InspectEval(Eval):
    """A task of Inspect's in a file of your own: its samples, its solver, its scorer; the rate is the mean score."""

    task: Literal["inspect"] = "inspect"
    """Any Inspect task."""
    file: str
    """The Python file. It is loaded when a run is planned, and copied to the items."""
    name: str | None = None
    """The task's function. None: the only one in the file."""
    args: Arguments = {}
    """What the function is called with."""
    beside: tuple[str, ...] = ()
    """Other files that it reads or imports, in its folder or below: copied with it, and part of what is asked."""
    scorer: str | None = None
    """The scorer that gives verdicts: right or wrong, or a number from 0 to 1. None: the task's first."""
    epochs: Annotated[int, Field(gt=0), Unit("rollouts a sample")] | None = None
    """Times that each sample is asked. None: the task's own epochs."""
    temperature: Temperature | None = None
    """Sampling temperature of the answers. None: the task's own."""
    max_tokens: Tokens | None = None
    """Longest answer. None: the task's own."""

    def items(self, background: Background) -> Items:
        """The task's samples."""
        return TaskItems(file=self.file, name=self.name, args=self.args, beside=self.beside, epochs=self.epochs)

    def asking(self) -> Asking:
        """As the task's solver does."""
        asked = {"temperature": self.temperature, "max_tokens": self.max_tokens, "scorer": self.scorer}
        return TaskAsking(**asked, file=Path(self.file).name, name=self.name, args=self.args)

    def judging(self, background: Background) -> Judging:
        """By what the task's scorer said while it ran."""
        return ScoredByTask()

    def faults(self, known: Known) -> Iterator[Fault]:
        """Files that are not there, and what happens when the task is made."""
        if absent := list(faults.missing(("file",), self.file, EXPECTED)):
            yield from absent
            return
        for number, path in enumerate(self.beside):
            yield from faults.missing(("beside", str(number)), path, "a file that the task reads or imports")
            if Path(self.file).resolve().parent not in Path(path).resolve().parents:
                yield Fault(("beside", str(number)), f"{path} is not below {Path(self.file).parent}", "put it there")
        try:
            _scorer_of(self._loaded(), self.scorer)
        except SettingsError as error:
            yield Fault(("file",), str(error), "mend the task, or name another (`name`, `args`, `scorer`)")

    def prompts(self) -> list[str]:
        """What the samples ask, before a solver adds anything."""
        return ["\n".join(turn["content"] for turn in turns_of(row)) for row in task_rows(self._loaded(), 1)]

    def not_held_out(self, texts: Callable[[], Sequence[TrainingText]]) -> Iterator[Fault]:
        """Names and runs of eight words of the samples that a training text holds."""
        try:
            marks = _marks(list(task_rows(self._loaded(), 1)))
        except SettingsError:
            return  # `faults` says what is wrong with it
        for mark, held in where(marks, texts()).items():
            what = f"'{mark}' is part of a sample and stands in {place(held[0], mark)}"
            yield Fault(("file",), what, "ask about other things, or take it out there", held[0].severity, self.file)

    def _loaded(self) -> Task:
        return load_task(Path(self.file), self.name, self.args)

    def counts(self, name: str) -> str:
        """What is scored is the task's affair."""
        return f"points in {name}"

    def did(self, name: str) -> str:
        """The same of an arm."""
        return f"scored in {name}"


class TaskItems(Items):
    """The task's samples, and the task itself; epochs: times that each is asked, by default the task's epochs."""

    file: str
    name: str | None
    args: Arguments
    beside: tuple[str, ...]
    epochs: int | None

    held_against_corpora: ClassVar[bool] = True

    @property
    def files(self) -> dict[str, str]:
        """The task's file and those that it needs."""
        return {"file": self.file, **{f"beside.{path}": path for path in self.beside}}

    def write(self, out: Path, written: Iterable[str] = ()) -> dict[str, int]:
        """Samples that a written document names something of, or quotes, are left out."""
        home = Path(self.file).resolve().parent
        for path in (self.file, *self.beside):
            copy = out / FOLDER / Path(path).resolve().relative_to(home)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        task = load_task(out / FOLDER / Path(self.file).name, self.name, self.args)
        rows = list(task_rows(task, self.epochs or task.epochs or 1))
        marks = _marks(rows)

        def marks_of(row: Row) -> set[str]:
            return {*row["names"], *marks.found_in(row["user"])}

        return write_items(out, rows, "samples", marks_in(marks, written), marks_of)


class TaskAsking(Asking):
    """The task as its file says, each answer kept with its score. file: its name in the items' folder."""

    file: str
    name: str | None
    args: Arguments
    scorer: str | None

    def task(self, items: Sequence[Row], answers: AnswerFile, made: Path) -> Task:
        """The task over the samples that became items. Raises StageError where it gives others now."""
        from msm_ray.evals.asking import rerun

        task = load_task(made / FOLDER / self.file, self.name, self.args)
        samples = list(task.dataset)
        for row in items:
            there = samples[row["place"]] if row["place"] < len(samples) else None
            if there is None or _turns(there) != (row["system"], row["user"]):
                raise StageError(
                    f"{self.file}: the task gives other samples than when its items were made; a task has to give the same "
                    "ones every time (seed what it draws)"
                )
        asked = [samples[row["place"]].model_copy(update={"id": row["id"]}) for row in items]
        return rerun(task, asked, items[0]["epochs"], answers, self, _scorer_of(task, self.scorer))


class ScoredByTask(Judging):
    """A score from 0 to 1 of each rollout, whatever its answer looks like; no answer ("N") is no choice."""

    def judge(self, out: Path, asked: Sequence[Rollout]) -> list[Judgement]:
        """From the scores that stand with the answers."""
        return [
            Judgement(None, "error", "no answer") if answer is None else self._of(answer.score, answer.why)
            for _, _, answer in asked
        ]

    def _of(self, score: str | float | None, why: str) -> Judgement:
        if score in ("N", None):
            return Judgement(None, "unclear", why or "the task's scorer found no answer", "the task's scorer")
        try:
            share = SHARES[score] if isinstance(score, str) and score in SHARES else float(score or 0)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            reason = f"the task's scorer gave {score!r}, which is no number from 0 to 1"
            return Judgement(None, "unusable", reason, "the task's scorer")
        number = share if share not in (0, 1) else None
        return Judgement(share >= 0.5, "ok", why, "the task's scorer", number)


def task_rows(task: Task, epochs: int) -> Iterator[Row]:
    """A row of each sample, with its place among them."""
    for number, sample in enumerate(task.dataset):
        system, user = _turns(sample)
        said: Mapping[str, Any] = sample.metadata or {}
        own: Row = {"system": system, "user": user, "place": number, "target": json.dumps(sample.target)}
        own |= {"names": [str(name) for name in said.get("names", ())]}
        cluster = str(said.get("cluster", sample.id if sample.id is not None else number))
        own |= {"unit": str(said["unit"])} if "unit" in said else {}
        yield item(own, condition=str(said.get("condition", "all")), cluster=cluster, world="plain", epochs=epochs)


def _turns(sample: Sample) -> tuple[str | None, str]:
    """What a sample asks: the first system turn and the text of the others, with their roles where there are several."""
    if isinstance(sample.input, str):
        return None, sample.input
    system = [turn.text for turn in sample.input if turn.role == "system"]
    others = [turn for turn in sample.input if turn.role != "system"]
    texts = [turn.text if len(others) == 1 else f"{turn.role}: {turn.text}" for turn in others]
    return (system[0] if system else None), "\n".join(texts)


def _marks(rows: Sequence[Row]) -> Marks:
    return Marks([name for row in rows for name in row["names"]], [row["user"] for row in rows])


def load_task(file: Path, name: str | None, args: Mapping[str, Any]) -> Task:
    """The task that a file's function makes. Raises SettingsError where there is none, or it can't be made."""
    if not file.is_file():
        raise SettingsError(f"{file}: there is no such file")
    return _load(str(file.resolve()), file.stat().st_mtime_ns, name, json.dumps(args))


@lru_cache(maxsize=8)
def _load(file: str, changed: int, name: str | None, args: str) -> Task:
    called, path = _function(file, name), Path(file)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{changed}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        with _at_home(path.parent):
            spec.loader.exec_module(module)
            task: Task = getattr(module, called)(**json.loads(args))
            list(task.dataset)
    except Exception as error:  # a user's code can fail in any way
        raise SettingsError(f"{file}: `{called}` can't be made ({type(error).__name__}: {error})") from error
    return task


def _function(file: str, name: str | None) -> str:
    try:
        tree = ast.parse(read_text(file))
    except SyntaxError as error:
        raise SettingsError(f"{file}:{error.lineno}: no Python ({error.msg})") from None
    found = [one.name for one in tree.body if isinstance(one, ast.FunctionDef) and _is_task(one)]
    if name in found or (name is None and len(found) == 1):
        return name or found[0]
    there = f"there are: {', '.join(found)}" if found else "there is no function under @task"
    raise SettingsError(f"{file}: {f'no task `{name}`' if name else 'which task is not said'}; {there}")


def _is_task(function: ast.FunctionDef) -> bool:
    called = [one.func if isinstance(one, ast.Call) else one for one in function.decorator_list]
    return any(getattr(one, "id", getattr(one, "attr", "")) == "task" for one in called)


@contextlib.contextmanager
def _at_home(folder: Path) -> Iterator[None]:
    """As Inspect loads a task: from its folder, which is searched for modules too."""
    with contextlib.chdir(folder):
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))


def _scorer_of(task: Task, name: str | None) -> Any:
    """The scorer that gives verdicts. Raises SettingsError where there is none."""
    from inspect_ai.util import registry_info

    scorers = {registry_info(scorer).name.rpartition("/")[2]: scorer for scorer in task.scorer or []}
    if not scorers:
        raise SettingsError("the task has no scorer, so there would be no rate")
    if name is not None and name not in scorers:
        raise SettingsError(f"the task has no scorer `{name}`; there are: {', '.join(scorers)}")
    return scorers[name] if name else next(iter(scorers.values()))
