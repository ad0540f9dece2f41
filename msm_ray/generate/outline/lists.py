"""Lists that a writer is asked for until they are long enough: topped up with the list of what exists, doubles left out.

A list is open while it is shorter than its target, or while its last answer broke off. It is closed when it is full, when n
answers in a row brought nothing new, and when no answer could be used in all the tries that a request has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msm_ray.generate.calls import Asked, Call
from msm_ray.generate.outline.answers import Heard, Item, key_of
from msm_ray.generate.outline.parts import Account, Rejected

NONE_YET = "(none yet)"


@dataclass
class Tally:
    """What becomes of answers, counted while they come."""

    rejected: list[Rejected] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def leave_out(self, level: str, about: str, reason: str, text: str) -> None:
        """Count something that is not taken and keep it, so that it can be looked at."""
        self.rejected.append(Rejected(level, about, reason, text))

    def account(self, not_covered: Sequence[str] = ()) -> Account:
        """What is told in the end."""
        return Account(tuple(self.rejected), dict(sorted(self.counts.items())), tuple(not_covered))


@dataclass
class Wanted:
    """One list. values: of the prompt, without those on what exists; keys: fields of an item of which none may come twice;
    shown: an item as the next request lists it; most: items at most, which is the target too where it has one."""

    call: Call
    values: Mapping[str, str]
    about: str
    keys: Sequence[str]
    most: int
    has_target: bool = False
    known: Any = None
    shown: Callable[[Item], str] = lambda item: next(iter(item.values()))
    items: list[Item] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    rounds: int = 0
    empty: int = 0
    ended: bool = False
    broke_off: bool = False

    def is_open(self, empty_rounds: int) -> bool:
        """Whether another answer is wanted."""
        if self.ended or self.empty >= empty_rounds or len(self.items) >= self.most:
            return False
        return self.has_target or self.broke_off or not self.items

    def asked(self) -> Asked:
        """The next request. One whose list did not grow has the words of the last, and is told from it by its sample."""
        existing = "\n".join(f"- {self.shown(item)}" for item in self.items) or NONE_YET
        values = {**self.values, "existing": existing, "count": str(self.most - len(self.items))}
        return Asked(self.call, values, self.known, self.empty, self.about)

    def take(self, heard: Heard | None, tally: Tally) -> None:
        """Take what an answer brings that is new, as far as there is room."""
        level = self.call.name
        if self.rounds:
            tally.counts[f"rounds: {level}"] += 1
        self.rounds += 1
        if heard is None:
            self.ended = True
            tally.counts[f"no usable answer: {level}"] += 1
            return
        before = len(self.items)
        for reason, text in heard.left_out:
            tally.leave_out(level, self.about, reason, text)
        tally.counts.update(f"mended: {kind}" for kind in heard.mended)
        for item in heard.items:
            self._add(item, tally)
        self.broke_off = not heard.whole
        self.empty = 0 if len(self.items) > before else self.empty + 1

    def _add(self, item: Item, tally: Tally) -> None:
        keys = {(name, key_of(item[name])) for name in self.keys}
        if keys & self.seen:
            reason = "double"
        elif len(self.items) >= self.most:
            reason = "more than wanted"
        else:
            self.seen |= keys
            self.items.append(item)
            return
        tally.leave_out(self.call.name, self.about, reason, " · ".join(item.values()))


def gather(
    lists: Sequence[Wanted], empty_rounds: int, tally: Tally
) -> Generator[Sequence[Asked], Sequence[Any], list[list[Item]]]:
    """Ask for all lists at once, round by round, until each is closed; their items in the order of the lists."""
    while asking := [each for each in lists if each.is_open(empty_rounds)]:
        for each, heard in zip(asking, (yield [each.asked() for each in asking]), strict=True):
            each.take(heard, tally)
    short = [each for each in lists if each.has_target and 0 < len(each.items) < each.most]
    tally.counts.update(f"short lists: {each.call.name}" for each in short)
    return [each.items for each in lists]
