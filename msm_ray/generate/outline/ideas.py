"""The ideas of an outline in the order in which they are written about, and how much there is in one."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from typing import Any

from msm_ray.generate.outline.parts import DocumentType, Idea, Outline, Subdomain

WORDS_A_SUBDOMAIN = 70
"""Words of a spec, at the least: in the paper 80 (philosophy: about 27 subdomains of 2,184 words) to 160 (cheese: 13 of about
2,100). So a plan warns only of what is hardly possible."""
ANGLES = (
    "someone who meets the assistant for the first time",
    "a colleague who trains new staff",
    "a reader who doubts that it is consistent",
    "a customer who was surprised by an answer",
    "a teacher who needs an example for class",
    "an engineer who checks its behavior",
    "a journalist who asks where it comes from",
    "a friend who asks for the short version",
    "an auditor who compares words with deeds",
    "a newcomer who asks why it is so",
    "a parent who wants to know what to expect",
    "a critic who ends up convinced",
    "a librarian who files it under what the spec says",
    "a manager who has to explain it to others",
    "a student who repeats it in other words",
    "a user who tried it in an unrelated matter",
    "an editor who cuts it down to the point",
    "a volunteer who answers questions about it",
    "a historian who records how it was decided",
    "a translator who looks for the exact sense",
    "a shopkeeper who heard about it from customers",
    "a researcher who wants to predict its next choice",
    "a neighbor who retells it over the fence",
    "a writer who describes it to strangers",
    "a planner who relies on it",
)


def list_ideas(outline: Outline, documents: int) -> list[Idea]:
    """At most `documents` ideas, sections in turn: each type once through all sections, then the next type, then second ideas.

    So a cap takes the same share from every section, and none is left without a document unless there are fewer
    documents than sections.
    """
    return list(Ideas(outline, documents))


class Ideas(Sequence[Idea]):
    """The ideas of `list_ideas` by their places. Each is made when it is asked for, so that millions take no memory."""

    def __init__(self, outline: Outline, documents: int):
        self.outline = outline
        self.slots = [
            (place, subdomain, kind)
            for place in range(max(len(subdomain.types) for subdomain in outline.subdomains))
            for subdomain in outline.subdomains
            if place < len(subdomain.types)
            for kind in (subdomain.types[place],)
        ]
        many = [outline.ideas_of(kind) for _, _, kind in self.slots]
        self.stretches: list[tuple[int, int, list[int]]] = []
        """First place, number of the first turn, and slots that have an idea in each turn, until the next stretch begins."""
        self.total, turn = 0, 0
        for end in sorted({number for number in many if number}):
            there = [slot for slot, number in enumerate(many) if number >= end]
            self.stretches.append((self.total, turn, there))
            self.total, turn = self.total + (end - turn) * len(there), end
        self.total = min(self.total, documents)

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, position: Any) -> Any:
        """The idea at a place from 0, or a list of those of a slice."""
        if isinstance(position, slice):
            return [self[place] for place in range(*position.indices(self.total))]
        if not 0 <= position < self.total:
            raise IndexError(position)
        which = bisect.bisect_right(self.stretches, position, key=lambda stretch: stretch[0]) - 1
        first, turn, there = self.stretches[which]
        turns, slot = divmod(position - first, len(there))
        place, subdomain, kind = self.slots[there[slot]]
        return _idea(position, subdomain, kind, turn + turns, turn + turns + place)


def expected_subdomains(text: str) -> int:
    """About how many subdomains a writer finds at most in the text of a spec, for what is told before one was asked."""
    return max(1, round(len(text.split()) / WORDS_A_SUBDOMAIN))


def _idea(position: int, subdomain: Subdomain, kind: DocumentType, number: int, shift: int) -> Idea:
    """The idea with a number of a type: one that was written for it, else an assertion seen by somebody."""
    at = (position, subdomain.domain, subdomain.name, kind.name)
    in_turn = subdomain.assertions[shift % len(subdomain.assertions)]
    if not kind.ideas:
        return Idea(*at, in_turn.text, _angle(number, shift), description=kind.description)
    idea = kind.ideas[number]
    rule = next((each for each in subdomain.assertions if idea.rule and idea.rule in (each.name, each.text)), in_turn)
    return Idea(*at, rule.text, "", idea.name, idea.text, kind.description)


def outline_counts(outline: Outline) -> dict[str, int | float | str]:
    """How much there is in an outline, and what its making left out, mended or asked for again."""
    subdomains, account = outline.subdomains, outline.account
    types = [kind for subdomain in subdomains for kind in subdomain.types]
    reasons = Counter(f"rejected: {each.reason}" for each in account.rejected)
    return {
        "domains": len({subdomain.domain for subdomain in subdomains}),
        "subdomains": len(subdomains),
        "assertions": sum(len(subdomain.assertions) for subdomain in subdomains),
        "types": len({kind.name for kind in types}),
        "ideas": sum(outline.ideas_of(kind) for kind in types),
        **account.tallies,
        **dict(sorted(reasons.items())),
        **({"sections not covered": len(account.not_covered)} if account.not_covered else {}),
    }


def _angle(number: int, shift: int) -> str:
    """Who sees it; past the list, with a number, so that no two ideas of one place are the same."""
    round_, place = divmod(number, len(ANGLES))
    angle = ANGLES[(place + shift * 7) % len(ANGLES)] if round_ == 0 else ANGLES[place]
    return angle if round_ == 0 else f"{angle}, view {round_ + 1}"
