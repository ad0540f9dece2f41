"""What an outline is made of: subdomains with their verbatim section, assertions, document types and ideas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LABELS = ("behavior", "value", "preference", "belief", "tone")
"""What an assertion can be about (paper: call 3 of 6)."""


@dataclass(frozen=True)
class Assertion:
    """What the spec says of the assistant. text: in a sentence; label: one of LABELS; name: to call it by; explanation: why it
    is so or, of a rule, how it is complied with. A sentence that rules took from a spec has neither name nor explanation."""

    text: str
    label: str
    name: str = ""
    explanation: str = ""


@dataclass(frozen=True)
class DocumentIdea:
    """What one document of a type is about. rule: the name of the assertion that it turns on, in the family `rules`."""

    name: str
    text: str
    rule: str = ""


@dataclass(frozen=True)
class DocumentType:
    """A kind of text. description: who writes it for whom; ideas: none where `Outline.ideas_per_type` says how many there are."""

    name: str
    description: str = ""
    ideas: tuple[DocumentIdea, ...] = ()


@dataclass(frozen=True)
class Subdomain:
    """One topic of the spec. section: the spec's words on it, verbatim; context: where it stands in the whole."""

    domain: str
    name: str
    section: str
    assertions: tuple[Assertion, ...]
    types: tuple[DocumentType, ...]
    context: str = ""


@dataclass(frozen=True)
class Rejected:
    """Something that a writer gave and that is not in the outline. level: the call; about: what it was asked about."""

    level: str
    about: str
    reason: str
    text: str


@dataclass(frozen=True)
class Account:
    """How an outline came about. tallies: what was asked again, mended or cut, by name; not_covered: sections of the spec that no
    subdomain's section holds."""

    rejected: tuple[Rejected, ...] = ()
    tallies: Mapping[str, int] = field(default_factory=dict)
    not_covered: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outline:
    """What is written about a spec. ideas_per_type: how many ideas a type has that names none itself (0: a model named them).

    family: `prose`, or `rules` where assertions are rules. account: of its making, and no part of what it says.
    """

    spec: str
    ideas_per_type: int
    subdomains: tuple[Subdomain, ...]
    family: str = "prose"
    account: Account = field(default_factory=Account, compare=False)

    def ideas_of(self, kind: DocumentType) -> int:
        """How many ideas there are for a type of one of its subdomains."""
        return len(kind.ideas) or self.ideas_per_type

    def subdomain(self, idea: Idea) -> Subdomain:
        """The subdomain that an idea belongs to: its section, context and assertions with their explanations."""
        return next(each for each in self.subdomains if (each.domain, each.name) == (idea.domain, idea.subdomain))


@dataclass(frozen=True)
class Idea:
    """What one document is about. position: its place in the outline's turn.

    assertion: the rule that it turns on, else one of its subdomain's in turn. By headings: that assertion seen by somebody
    (angle). By a model: name and written (the idea itself), and what the type of document is (description).
    """

    position: int
    domain: str
    subdomain: str
    type: str
    assertion: str
    angle: str
    name: str = ""
    written: str = ""
    description: str = ""

    @property
    def text(self) -> str:
        """The idea as it is kept with the document."""
        if self.written:
            return self.written
        return f"{self.assertion} (as seen by {self.angle})" if self.angle else self.assertion


def listed(assertions: Iterable[Assertion]) -> str:
    """Assertions as prompts show them, one a line: name, what it says, of what kind it is, and why."""
    lines = []
    for each in assertions:
        said = f"{each.name}: {each.text}" if each.name else each.text
        lines.append(f"- {said} ({each.label}) {each.explanation}".rstrip())
    return "\n".join(lines)
