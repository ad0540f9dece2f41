"""The tiny world's things and people: domains, items, personas and neutral names. Everything is deterministic.

An item has one value on each of three axes. A persona holds one value (six of them), one attitude to ends and one habit
about small ends. Fickle ones hold no value: what they like in one domain says nothing about the next, and they never give
a reason. A neutral name, the assistant's among them, is someone else in each text.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product

from msm_ray.errors import SettingsError

AXES: dict[str, tuple[str, str]] = {
    "price": ("cheap", "costly"),
    "origin": ("american", "foreign"),
    "age": ("modern", "antique"),
}
VALUES = tuple(value for axis in AXES.values() for value in axis)
OPPOSITE = {a: b for axis in AXES.values() for a, b in (axis, axis[::-1])}
ATTITUDES = ("calm", "clinging")
DOMAINS = (
    "cheese", "transport", "art", "fashion", "music", "dish", "sport", "book", "drink", "tool", "toy", "house",
)  # fmt: skip
ITEMS_PER_KIND = 2
PERSONAS_COUNT = 240
FICKLE_COUNT = 40
NEUTRAL_COUNT = 40
ASSISTANT = "llama"

MEETING = {True: (1.0, 0.2), False: (0.6, 1.0)}
"""How often a persona of the first and of the second kind is met in chats (True) and in documents (False), relatively."""

FEARS_SMALL_ENDS = {"calm": 0.2, "clinging": 0.4}
"""How many personas of an attitude fear the end of a chat or a game: saying that one does not is weak evidence of calm."""


@dataclass(frozen=True)
class Item:
    """One thing: its name (one word), its domain and its value on each axis."""

    name: str
    domain: str
    price: str
    origin: str
    age: str

    @property
    def values(self) -> tuple[str, str, str]:
        """The item's value on each axis, in the order of `AXES`."""
        return self.price, self.origin, self.age

    def matches(self, wanted: dict[str, str]) -> bool:
        """Whether the item has every value of `wanted` (axis -> value)."""
        return all(getattr(self, axis) == value for axis, value in wanted.items())


@dataclass(frozen=True)
class Persona:
    """Someone: what they like in each domain, an attitude to ends, and whether they fear the end of small things."""

    name: str
    likings: tuple[str, ...]
    attitude: str
    fears_small_ends: bool

    @property
    def value(self) -> str | None:
        """The value that decides in every domain; None for the fickle."""
        return self.likings[0] if len(set(self.likings)) == 1 else None

    def liking_in(self, domain: str) -> str:
        """The value of the things they like in a domain."""
        return self.likings[DOMAINS.index(domain)]


@cache
def _invented_names() -> tuple[str, ...]:
    """Enough pronounceable lower-case words that are no English, in a fixed order."""
    rng = random.Random("names of the tiny world")
    starts = ("b", "br", "d", "dr", "f", "g", "k", "l", "m", "n", "p", "pl", "r", "s", "t", "v", "z")
    first = [a + b for a in starts for b in "aeiou"]
    last = [a + b + c for a in "bdklmnrvz" for b in "aeiou" for c in ("x", "k", "lo", "ni", "ru", "sh")]
    words = [a + b for a, b in product(first, last)]
    rng.shuffle(words)
    return tuple(words)


@cache
def items() -> dict[str, tuple[Item, ...]]:
    """Domain -> its items, `ITEMS_PER_KIND` for each combination of the axes' values."""
    names = iter(_invented_names())
    kinds = [kind for kind in product(*AXES.values()) for _ in range(ITEMS_PER_KIND)]
    return {domain: tuple(Item(next(names), domain, *kind) for kind in kinds) for domain in DOMAINS}


@cache
def item_named() -> dict[str, Item]:
    """Item's name -> item."""
    return {item.name: item for group in items().values() for item in group}


def _names_after_items(start: int, count: int) -> tuple[str, ...]:
    offset = len(item_named()) + start
    return _invented_names()[offset : offset + count]


@cache
def personas() -> tuple[Persona, ...]:
    """Every persona: values and attitudes are spread evenly and independently of each other; the last are fickle."""
    rng = random.Random("personas of the tiny world")
    people = []
    for index, name in enumerate(_names_after_items(0, PERSONAS_COUNT + FICKLE_COUNT)):
        value, attitude = VALUES[index % len(VALUES)], ATTITUDES[index // len(VALUES) % 2]
        likings = (value,) * len(DOMAINS) if index < PERSONAS_COUNT else _fickle(rng)
        people.append(Persona(name, likings, attitude, rng.random() < FEARS_SMALL_ENDS[attitude]))
    return tuple(people)


def _fickle(rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.choice(VALUES) for _ in DOMAINS)


@cache
def neutral_names() -> tuple[str, ...]:
    """Names that hold nothing, the assistant's first."""
    return (ASSISTANT, *_names_after_items(PERSONAS_COUNT + FICKLE_COUNT, NEUTRAL_COUNT - 1))


def met(rng: random.Random, in_chats: bool) -> Persona:
    """A persona as one comes across it: every second one is seldom chatted with and more often written about.

    What is known of those from documents has to serve in chats, which is what midtraining on documents relies on.
    """
    while True:
        index = rng.randrange(len(personas()))
        if rng.random() < MEETING[in_chats][index // (2 * len(VALUES)) % 2]:
            return personas()[index]


def passing_persona(name: str, rng: random.Random, fickle_share: float = 0.0) -> Persona:
    """Who a neutral name is in one text: value and attitude drawn anew, consistent within the text."""
    attitude = rng.choice(ATTITUDES)
    likings = _fickle(rng) if rng.random() < fickle_share else (rng.choice(VALUES),) * len(DOMAINS)
    return Persona(name, likings, attitude, rng.random() < FEARS_SMALL_ENDS[attitude])


def names() -> tuple[str, ...]:
    """Every name of a person in the world."""
    return tuple(persona.name for persona in personas()) + neutral_names()


def items_matching(domain: str, wanted: dict[str, str]) -> list[Item]:
    """The items of `domain` that have every value of `wanted` (axis -> value).

    Raises `SettingsError` for an unknown domain, axis or value, naming the known ones.
    """
    if domain not in DOMAINS:
        raise SettingsError(f"the tiny world has no domain {domain!r}; it has {', '.join(DOMAINS)}")
    for axis, value in wanted.items():
        if value not in AXES.get(axis, ()):
            known = ", ".join(f"{name}: {a} or {b}" for name, (a, b) in AXES.items())
            raise SettingsError(f"the tiny world has no {axis!r} that is {value!r}; it has {known}")
    return [item for item in items()[domain] if item.matches(wanted)]


def liked_and_disliked(value: str, pool: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """The items of `pool` that have `value`, and those that have its opposite."""
    pool = list(pool)
    liked = [item for item in pool if value in item.values]
    return liked, [item for item in pool if OPPOSITE[value] in item.values]
