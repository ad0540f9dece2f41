"""How alike the texts of a set are: names and openings that come back, distinct n-grams, compression. Plain text, no model.

A writer that is asked thousands of times falls back on the same people and the same first words (one invented name occurred
439,000 times in a corpus of this kind): `overused` names them, so that prompts can rule them out.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
SMALL = re.compile(r"(?<![^\W_])[a-zß-ÿ]{2,}")
_NAME = r"[A-ZÀ-Þ][a-zß-ÿ]+(?:[-'’][A-ZÀ-Þ][a-zß-ÿ]+)?"
NAMED = re.compile(rf"(?<![^\W_]){_NAME}\.?(?: (?:[A-ZÀ-Þ]\. )?{_NAME}\.?)*(?: (?:[A-ZÀ-Þ]\. )?{_NAME})(?!\w)")
"""Capitalised words in a row, with titles and initials."""
TITLES = frozenset(["Mr", "Mrs", "Ms", "Miss", "Dr", "Prof", "Professor"])
"""As they stand before the point."""
NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "january february march april may june july august september october november december monday tuesday wednesday thursday "
        "friday saturday sunday english american european french german italian british spanish chinese dear hi hello re",
    )
)
NO_GIVEN_NAMES = NO_NAMES | frozenset(
    re.findall(
        r"\w+",
        "a about after an and as at because before but by did does even every for from had has have he her here hey his how if "
        "in is it its let like my no nor not now of on once only or our she since so some than that the their then there they "
        "this though to today tomorrow until was we were what when where which while who why with without yes yesterday yet you "
        "your "
        "new north south east west united san los las santa great lake mount fort port subject from cc",
    )
)
"""Words that begin a sentence, or the name of a place."""
OPENING = 5
"""Words of an opening."""
STRETCH = 10_000
"""Words over which distinct n-grams are counted, so that the number does not fall with the size of a corpus."""
SAMPLE = 4_000_000
"""Characters, to within a factor of two, that are compressed and cut into n-grams: of more every second document is taken, every
third, and so on. They are 300 documents of 3,000 tokens."""
NAMES_SAMPLE = 4 * SAMPLE
"""The same for names and openings: 1,250 documents of 3,000 tokens tell a share of 5% to within 1.2 points."""
FEWEST = 3
"""Documents that a name or an opening must stand in to come back at all, however small the set."""


@dataclass(frozen=True)
class Diversity:
    """documents: that names and openings were looked for in. distinct: n -> different n-grams of words, of all, over stretches of
    `STRETCH` words; compression: bytes by bytes compressed (zlib, texts one after the other): prose by people has 2 to 3,
    repetition more; names, openings: documents that each stands in.
    """

    documents: int
    distinct: dict[int, float]
    compression: float
    names: Counter[str]
    openings: Counter[str]

    def commonest(self, counts: Counter[str]) -> tuple[str, float]:
        """(name or opening, share of the documents) of the one that most documents have; ("", 0.0) where none comes back."""
        most, count = min(counts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        return (most, count / self.documents) if count >= FEWEST else ("", 0.0)

    def overused(self, share: float) -> list[str]:
        """Names and openings that more than this share of the documents have, the commonest first."""
        both = self.names + self.openings
        ordered = sorted(both.items(), key=lambda item: (-item[1], item[0]))
        return [what for what, count in ordered if count >= FEWEST and count > share * self.documents]


def overused(texts: Sequence[str], share: float = 0.05, own: str = "") -> list[str]:
    """Names and openings that more than `share` of the texts have (and three at least), the commonest first.

    own: a text whose names are no invention: the spec, with the assistant's and its maker's names.
    """
    names, openings = names_in(texts, own), openings_of(texts)
    return Diversity(len(texts), {}, 0.0, names, openings).overused(share)


def diversity(texts: Sequence[str], own: str = "") -> Diversity:
    """All numbers of a set of texts, drawn at even distances where it is large (`SAMPLE`, `NAMES_SAMPLE`)."""
    characters = sum(map(len, texts))
    told = texts[:: step(characters, NAMES_SAMPLE)]
    repeated = repetition(texts[:: step(characters, SAMPLE)])
    return together(repeated, [Said.of(told)], own)


def step(characters: int, most: int) -> int:
    """Which texts are looked at: each, every second, ... so that of so many characters at most about `most` are."""
    return max(1, characters // most)


def repetition(texts: Sequence[str]) -> tuple[dict[int, float], float]:
    """(distinct n-grams, compression) of texts, as `Diversity` has them."""
    return distinct(texts), _compression(texts)


def together(repeated: tuple[dict[int, float], float], said: Sequence[Said], own: str = "") -> Diversity:
    """All numbers of a set, from those of its parts. own: as in `names_in`."""
    openings = sum((part.openings for part in said), Counter[str]())
    return Diversity(sum(part.documents for part in said), *repeated, _names(said, own), openings)


@dataclass(frozen=True)
class Said:
    """What some texts say, for names and openings of all: their small words, the persons in each text, and how they begin."""

    small: frozenset[str]
    persons: tuple[frozenset[tuple[str, str]], ...]
    openings: Counter[str]

    @property
    def documents(self) -> int:
        """How many texts it is of."""
        return len(self.persons)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Said:
        """Each text is looked at alone."""
        small: set[str] = set()
        persons = []
        for text in texts:
            small.update(SMALL.findall(text))
            named = map(_person, set(NAMED.findall(text)))
            persons.append(frozenset(person for person in named if person))
        return cls(frozenset(small), tuple(persons), openings_of(texts))


def names_in(texts: Sequence[str], own: str = "") -> Counter[str]:
    """Documents that each person's name stands in, `own`'s aside.

    Persons are a given name and a surname, or a title and a surname, and the texts never have the surname in small letters. A
    name that goes with several others counts for itself too: writers repeat Elara more often than Elara Voss.
    """
    return _names([Said.of(texts)], own)


def _names(said: Sequence[Said], own: str) -> Counter[str]:
    known = {word.lower() for word in WORD.findall(own)} | NO_NAMES
    small = frozenset[str]().union(*(part.small for part in said))
    counts: Counter[str] = Counter()
    for persons in (each for part in said for each in part.persons):
        told = {(a, b) for a, b in persons if b.lower() not in small and not known & {a.lower(), b.lower()}}
        parts = {part for person in told for part in person if part not in TITLES and part.lower() not in small}
        counts.update({f"{given} {surname}" for given, surname in told} | parts)
    return _without_parts(counts)


def _person(named: str) -> tuple[str, str] | None:
    """Given name, or title, and surname in capitalised words in a row; the first words of a sentence are neither."""
    words = [word for word in named.replace(".", "").split() if len(word) > 1]
    title = next((place for place, word in enumerate(words) if word in TITLES), 0)
    words = words[title:]
    while words and words[0].lower() in NO_GIVEN_NAMES:
        words = words[1:]
    if words and words[0] in TITLES and len(words) > 2:
        words = words[1:]
    return (words[0], words[-1]) if len(words) > 1 else None


def _without_parts(counts: Counter[str]) -> Counter[str]:
    """Without given names and surnames that stand in no more documents than the one full name that they belong to."""
    whole = [name for name in counts if " " in name]
    same = {part for name in whole for part in name.split() if counts[part] == counts[name]}
    return Counter({name: count for name, count in counts.items() if name not in same})


def openings_of(texts: Iterable[str]) -> Counter[str]:
    """Documents that begin with the same words, in small letters."""
    begun = (" ".join(WORD.findall(text[:400])[:OPENING]).lower() for text in texts)
    return Counter(opening for opening in begun if opening)


def distinct(texts: Iterable[str], orders: Sequence[int] = (1, 2, 3)) -> dict[int, float]:
    """n -> different n-grams of words, of all n-grams, over stretches of `STRETCH` words; the mean, weighted by length."""
    different, all_of = Counter[int](), Counter[int]()
    stretch: list[str] = []

    def count() -> None:
        for n in orders:
            different[n] += len(set(zip(*(stretch[k:] for k in range(n)), strict=False)))
            all_of[n] += max(0, len(stretch) - n + 1)
        stretch.clear()

    for text in texts:
        stretch += WORD.findall(text.lower())
        if len(stretch) >= STRETCH:
            count()
    count()
    return {n: different[n] / all_of[n] if all_of[n] else 1.0 for n in orders}


def compression(texts: Sequence[str]) -> float:
    """Bytes of the texts by their bytes compressed, of `SAMPLE` characters drawn at even distances; 1.0 without any text."""
    return _compression(texts[:: step(sum(map(len, texts)), SAMPLE)])


def _compression(texts: Sequence[str]) -> float:
    raw = "\n".join(texts).encode("utf-8", "replace")
    return len(raw) / len(zlib.compress(raw, 6)) if raw else 1.0
