"""What is wrong with an eval before anything starts, told without knowing where in the experiment file it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msm_ray.rows.files import Form, Problem, checked, few

Severity = Literal["error", "fewer", "warning", "lacking", "not checked"]


@dataclass(frozen=True)
class Fault:
    """at: the setting's path below the eval's section. file, line: of a data file that it names, where the fault is in there.

    severity: "fewer" is an error where somebody asked for that many and a warning where a default did; "lacking" is what this
    machine or the outside lacks, needed by some kinds of `stages`; "not checked" is no fault: nobody shall take it for passed.
    """

    at: tuple[str, ...]
    what: str
    remedy: str = ""
    severity: Severity = "error"
    file: str = ""
    line: int | None = None
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What is known of the arms before anything starts. base: the model that they come from, as the experiment names it.

    world: the experiment's; foreign: whether the base is known not to have learned a world's closed language;
    refuses_system: why its chat template takes no system turn, None where it does or nothing is known.
    """

    base: str
    world: str
    foreign: bool = False
    refuses_system: str | None = None


def missing(at: tuple[str, ...], path: str | None, what: str) -> Iterator[Fault]:
    """A file that is not named, not there, or a folder. what: the form that it would have."""
    if not path:
        yield Fault(at, "is missing", f"name a file: {what}")
    elif Path(path).is_dir():
        yield Fault(at, f"{path} is a folder", f"name a file in it: {what}")
    elif not Path(path).exists():
        yield Fault(at, f"there is no {path} (looked from {Path.cwd()})", f"put there {what}")


def located(at: tuple[str, ...], path: str, problems: Iterable[Problem], what: str) -> Iterator[Fault]:
    """Problems of a data file, which point into it."""
    for line, problem in problems:
        yield Fault(at, problem, f"expected: {what}", file=path, line=line)


def rows(at: tuple[str, ...], path: str | None, form: Form, how_many: str = "") -> Iterator[Fault]:
    """What is wrong with a file of rows."""
    what = how_many + form.expected
    absent = list(missing(at, path, what))
    yield from absent
    if path and not absent:
        yield from located(at, path, few(checked(path, form)[1]), what)
