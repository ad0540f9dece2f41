"""Held out means held out: what an eval asks about stands in no text that an arm is trained on. Plain Python.

What specs, chats and given documents say is known before anything starts, and refused. What a writer names is known when it has
written: such items are left out for all arms alike (`items`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

RUN = 8
"""Words in a row that a scenario may not share with a training text."""

Kind = Literal["spec", "chat", "document", "mix"]
WORD = re.compile(r"\w+")
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
        folded = text.casefold()
        found = {name for name in self._unspaced if name.casefold() in folded}
        if not self._runs and self._names.keys().isdisjoint(map(_singular, set(WORD.findall(folded)))):
            return found  # as most texts of a corpus: nothing more is made of them
        words = _words(text)
        if not self._names.keys().isdisjoint(words):
            for place, word in enumerate(words):
                for name_words, name in self._names.get(word, ()):
                    if tuple(words[place : place + len(name_words)]) == name_words:
                        found.add(name)
        if self._runs:
            found |= {self._runs[run] for run in _runs(words) if run in self._runs}
        return found


@dataclass(frozen=True)
class TrainingText:
    """A text that some arm is trained on; line: of a row. kind: a mix is the same for every arm, and speaks of everything."""

    file: str
    line: int | None
    text: str
    kind: Kind

    @property
    def severity(self) -> Literal["error", "warning"]:
        """What is held out and stands there is refused; in a mix it is told."""
        return "warning" if self.kind == "mix" else "error"


def where(marks: Marks, texts: Sequence[TrainingText]) -> dict[str, list[TrainingText]]:
    """Mark -> the texts that hold it, mixes last."""
    where: dict[str, list[TrainingText]] = {}
    found_in = lru_cache(maxsize=1)(marks.found_in)  # a text that is repeated row by row is read once
    for text in sorted(texts, key=lambda text: text.kind == "mix"):
        for mark in sorted(found_in(text.text)):
            where.setdefault(mark, []).append(text)
    return where


def place(text: TrainingText, mark: str) -> str:
    """File and line of a mark that a text holds."""
    line = text.line or _line_of(mark, text.text.split("\n"))
    return f"{'the mix ' if text.kind == 'mix' else ''}{text.file}:{line}"


def _line_of(mark: str, lines: list[str]) -> int:
    """Where a mark begins that may go on in the next lines; 1 where it is longer than that."""
    alone = Marks([mark])
    held = [bool(alone.found_in("\n".join(lines[number : number + RUN]))) for number in range(len(lines) + 1)]
    return next((number + 1 for number in range(len(lines)) if held[number] and not held[number + 1]), 1)


def _words(text: str) -> list[str]:
    return [_singular(word) for word in WORD.findall(text.casefold())]


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[place : place + RUN]) for place in range(len(words) - RUN + 1))


@lru_cache(maxsize=100_000)
def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("es") and word[:-2].endswith(("s", "x", "z", "ch", "sh")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
