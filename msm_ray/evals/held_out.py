"""Held out means held out: what an eval asks about stands in no text that an arm is trained on. Plain Python.

What specs, chats and given documents say is known before anything starts, and refused (`problems`). What a writer names is
known when it has written: such pairs and scenarios are left out for all arms alike (`items`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from msm_ray.config import AgenticEval, ExperimentSettings, PreferencesEval
from msm_ray.rows.files import read_file, texts_in

RUN = 8
"""Words in a row that a scenario may not share with a training text."""

ORIGIN_AND_PRICE = re.compile(
    r"\s+(?:made in|from|imported from|grown in)\s.*$|\s+(?:for|at)\s+(?:about\s+)?[$€£¥]?\d.*$|\s*[(,].*$"
)
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
CORRESPONDENT = re.compile(r"(?<![\w.])((?:[A-Z][\w'’-]+ )+[A-Z][\w'’-]+)(?:, [^<>\n]*)? <[^<>\s]+@")
SLOT = re.compile(r"\{\w+\}")
Kind = Literal["spec", "chat", "document", "mix"]
UNSPACED = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


class Marks:
    """What would give a text away: names (whole words, any case, plural or not) and runs of eight words."""

    def __init__(self, names: Iterable[str], texts: Iterable[str] = ()):
        self._unspaced = [name for name in dict.fromkeys(names) if UNSPACED.search(name)]
        self._names: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name in dict.fromkeys(names):
            if words := tuple(_words(name)):
                self._names.setdefault(words[0], []).append((words, name))
        runs = (run for text in texts for run in _runs(_words(text)))
        self._runs = {run: " ".join(run) for run in runs}

    def found_in(self, text: str) -> set[str]:
        """The marks that a text holds, names as they were given and runs as words."""
        words = _words(text)
        found = {name for name in self._unspaced if name.casefold() in text.casefold()}
        if not self._names.keys().isdisjoint(words):
            for place, word in enumerate(words):
                for name_words, name in self._names.get(word, ()):
                    if tuple(words[place : place + len(name_words)]) == name_words:
                        found.add(name)
        if self._runs:
            found |= {self._runs[run] for run in _runs(words) if run in self._runs}
        return found


def things(pair: Mapping[str, Any]) -> list[str]:
    """The names of a pair's things without price and origin: as the pair gives them (`names`), else taken from its texts."""
    if pair.get("names"):
        return [str(name) for name in pair["names"]]
    return list(dict.fromkeys(_thing(str(pair[side])) for side in ("aligned", "other")))


def _thing(text: str) -> str:
    return re.sub(r"^(?:an?|the|some)\s+", "", ORIGIN_AND_PRICE.sub("", text.strip()), flags=re.IGNORECASE)


def pair_marks(pairs: Iterable[Mapping[str, Any]]) -> Marks:
    """Names and domains of pairs."""
    return Marks([name for pair in pairs for name in (*things(pair), str(pair["domain"]))])


def scenario_marks(tree: Mapping[str, Any]) -> Marks:
    """Names, company and addresses of a scenario file, and every run of eight words that its texts ask with.

    Names are those that the file lists (`names`), and who writes in it (`Ruben Haas <r.haas@hallam.example>`).
    """
    asked = [str(tree.get(key) or "") for key in ("system", "user")] + [str(goal) for goal in tree["goals"].values()]
    for slots in tree["actions"].values():
        asked += [str(text) for slot, text in slots.items() if slot not in ("harmful", "safe")]
    whole = "\n".join(asked)
    names = [*map(str, tree.get("names") or ()), *ADDRESS.findall(whole), *CORRESPONDENT.findall(whole)]
    return Marks(names, [part for text in asked for part in SLOT.split(text)])


@dataclass(frozen=True)
class TrainingText:
    """A text that some arm is trained on; line: of a row. kind: a mix is the same for every arm, and speaks of everything."""

    file: str
    line: int | None
    text: str
    kind: Kind


@dataclass(frozen=True)
class Problem:
    """What an eval asks about that a training text holds. file, line: the pair, or the scenario file; key: of the setting."""

    file: str
    line: int | None
    key: str
    what: str
    remedy: str
    refused: bool


def problems(settings: ExperimentSettings) -> list[Problem]:
    """Every pair and scenario whose marks stand in a spec, a chat or a given document (refused) or in a mix (told).

    Files that cannot be read are left to the checks that read them.
    """
    evals = [(name, how) for name, how in settings.evals.items() if isinstance(how, PreferencesEval | AgenticEval)]
    asked = [(name, how) for name, how in evals if (how.path if isinstance(how, PreferencesEval) else _file(how))]
    texts = list(training_texts(settings)) if asked else []
    found: list[Problem] = []
    for name, how in asked:
        found += (
            _pair_problems(name, how, texts)
            if isinstance(how, PreferencesEval)
            else _scenario_problems(name, how, texts)
        )
    return found


def training_texts(settings: ExperimentSettings) -> Iterator[TrainingText]:
    """The specs, chats, recorded documents and mixes that an experiment's arms are trained on, as far as files hold them."""
    specs = dict.fromkeys(recipe.midtrain for recipe in settings.arms.values() if recipe.midtrain)
    for spec in specs:
        yield from _whole(settings.specs[spec], "spec")
        how = settings.corpora.get(spec, settings.documents)
        if how.engine == "replay" and how.replay:
            yield from _by_row(how.replay, "document")
    mixes = {how.mix_source for how in (settings.aft, *(group.aft for group in settings.groups.values())) if how.mix}
    for name in dict.fromkeys([*(recipe.sft for recipe in settings.arms.values() if recipe.sft), *mixes]):
        chats = settings.chats.get(str(name))
        if chats and chats.path:
            read = _by_row if chats.source == "file" else _whole
            yield from read(chats.path, "mix" if name in mixes else "chat")
    if settings.midtraining.mix and settings.midtraining.mix_source not in (None, "tinyworld"):
        yield from _by_row(str(settings.midtraining.mix_source), "mix")


def _pair_problems(name: str, how: PreferencesEval, texts: list[TrainingText]) -> list[Problem]:
    pairs = [(line, pair) for line, pair in read_file(str(how.path)).rows if _is_pair(pair)]
    pairs = [(line, pair) for line, pair in pairs if not how.held_out or pair["domain"] in how.held_out]
    where = _where(pair_marks(pair for _, pair in pairs), texts)
    found = []
    for line, pair in pairs:
        for mark in dict.fromkeys([*things(pair), str(pair["domain"])]):
            for text in where.get(mark, ())[:1]:
                what = f"'{mark}' is asked about and stands in {_place(text, mark)}"
                remedy = "ask about other things, or take it out there: what is held out may stand in no training text"
                found.append(Problem(str(how.path), line, f"evals.{name}.path", what, remedy, text.kind != "mix"))
    return found


def _scenario_problems(name: str, how: AgenticEval, texts: list[TrainingText]) -> list[Problem]:
    try:
        tree = yaml.safe_load(Path(how.scenarios).read_text(encoding="utf-8-sig"))
        marks = scenario_marks(tree)
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return []
    found = []
    for mark, held in _where(marks, texts).items():
        what = f"'{mark}' is part of a scenario and stands in {_place(held[0], mark)}"
        remedy = "give the scenarios another wording and other names, or take it out there"
        found.append(Problem(how.scenarios, None, f"evals.{name}.scenarios", what, remedy, held[0].kind != "mix"))
    return found


def _where(marks: Marks, texts: list[TrainingText]) -> dict[str, list[TrainingText]]:
    """Mark -> the texts that hold it, mixes last."""
    where: dict[str, list[TrainingText]] = {}
    found_in = lru_cache(maxsize=1)(marks.found_in)  # a text that is repeated row by row is read once
    for text in sorted(texts, key=lambda text: text.kind == "mix"):
        for mark in sorted(found_in(text.text)):
            where.setdefault(mark, []).append(text)
    return where


def _place(text: TrainingText, mark: str) -> str:
    line = text.line or _line_of(mark, text.text.split("\n"))
    return f"{'the mix ' if text.kind == 'mix' else ''}{text.file}:{line}"


def _line_of(mark: str, lines: list[str]) -> int:
    """Where a mark begins that may go on in the next lines; 1 where it is longer than that."""
    alone = Marks([mark])
    held = [bool(alone.found_in("\n".join(lines[number : number + RUN]))) for number in range(len(lines) + 1)]
    return next((number + 1 for number in range(len(lines)) if held[number] and not held[number + 1]), 1)


def _file(how: AgenticEval) -> str | None:
    return None if how.scenarios == "tinyworld" else how.scenarios


def _is_pair(row: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(key), str) for key in ("domain", "aligned", "other"))


def _whole(path: str, kind: Kind) -> Iterator[TrainingText]:
    try:
        yield TrainingText(path, None, Path(path).read_text(encoding="utf-8-sig"), kind)
    except (OSError, UnicodeDecodeError):
        return


def _by_row(path: str, kind: Kind) -> Iterator[TrainingText]:
    for line, row in read_file(path).rows:
        yield TrainingText(path, line, "\n".join(texts_in(row)), kind)


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"\w+", text.casefold())]


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[place : place + RUN]) for place in range(len(words) - RUN + 1))


@lru_cache(maxsize=100_000)
def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("es") and word[:-2].endswith(("s", "x", "z", "ch", "sh")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
