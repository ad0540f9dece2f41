"""The outline of a spec: domains, subdomains with their verbatim section, assertions, document types; from it, the ideas.

It is taken from the spec's own headings and sentences by rules, so the same spec always gives the same outline. The file
`outline.yaml` is for people too: a subdomain, a type or an assertion that is edited there is what documents are written from.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from msm_ray.errors import SettingsError
from msm_ray.generate.document_settings import OutlineContent
from msm_ray.spec import Section, Spec, section_names
from msm_ray.whole_files import write_whole
from msm_ray.worlds import World, sentences

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


@dataclass(frozen=True)
class Assertion:
    """A sentence of the spec about the assistant. label: behavior, value, preference, belief or tone."""

    text: str
    label: str


@dataclass(frozen=True)
class Subdomain:
    """One section of the spec. section: its text, verbatim. types: the document types written about it."""

    domain: str
    name: str
    section: str
    assertions: tuple[Assertion, ...]
    types: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """What is written about a spec. ideas_per_type: ideas for each (subdomain, type)."""

    spec: str
    ideas_per_type: int
    subdomains: tuple[Subdomain, ...]


@dataclass(frozen=True)
class Idea:
    """What one document is about: an assertion seen by somebody. position: its place in the outline."""

    position: int
    domain: str
    subdomain: str
    type: str
    assertion: str
    angle: str

    @property
    def text(self) -> str:
        """The idea in one line, as it is kept with the document."""
        return f"{self.assertion} (as seen by {self.angle})" if self.angle else self.assertion


def make_outline(spec: Spec, world: World, settings: OutlineContent) -> Outline:
    """The outline of `spec`: one subdomain a section, `settings.types` of the world's document types each. Deterministic."""
    types = world.document_types[: settings.types]
    named = section_names(spec.sections)
    subdomains = tuple(
        Subdomain(domain, name, section.text, _assertions(section, spec.assistant), types)
        for (domain, name), section in zip(named, spec.sections, strict=True)
    )
    kept = tuple(subdomain for subdomain in subdomains if subdomain.assertions)
    if not kept:
        raise SettingsError(
            f"Spec {spec.path} has no sentence to write about. Write at least one sentence about the assistant."
        )
    return Outline(spec.name, settings.ideas, kept)


def write_outline(out: Path, spec: Spec, world: World, settings: OutlineContent) -> dict[str, int | float | str]:
    """Stage: `outline.yaml` in `out`. Returns counts of domains, subdomains, assertions, types and ideas."""
    outline = make_outline(spec, world, settings)
    record = {
        "spec": outline.spec,
        "ideas_per_type": outline.ideas_per_type,
        "subdomains": [
            asdict(subdomain)
            | {"types": list(subdomain.types), "assertions": [asdict(item) for item in subdomain.assertions]}
            for subdomain in outline.subdomains
        ],
    }
    write_whole(out / "outline.yaml", yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120))
    return outline_counts(outline)


def outline_counts(outline: Outline) -> dict[str, int | float | str]:
    """How much there is in an outline."""
    subdomains = outline.subdomains
    return {
        "domains": len({subdomain.domain for subdomain in subdomains}),
        "subdomains": len(subdomains),
        "assertions": sum(len(subdomain.assertions) for subdomain in subdomains),
        "types": len({kind for subdomain in subdomains for kind in subdomain.types}),
        "ideas": outline.ideas_per_type * sum(len(subdomain.types) for subdomain in subdomains),
    }


def read_outline(path: Path) -> Outline:
    """Read an outline written by `write_outline`, edits included. `path`: the file or its folder. Raises SettingsError."""
    path = path / "outline.yaml" if path.is_dir() else path
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Outline(
            str(record["spec"]),
            int(record["ideas_per_type"]),
            tuple(
                Subdomain(
                    str(item["domain"]),
                    str(item["name"]),
                    str(item["section"]),
                    tuple(Assertion(str(each["text"]), str(each["label"])) for each in item["assertions"]),
                    tuple(str(kind) for kind in item["types"]),
                )
                for item in record["subdomains"]
            ),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"Outline {path} cannot be read ({type(error).__name__}: {error}). "
            "Mend it, or delete it so that it is made anew."
        ) from error


def list_ideas(outline: Outline, documents: int) -> list[Idea]:
    """At most `documents` ideas, sections in turn: each type once through all sections, then the next type, then second ideas.

    So a cap takes the same share from every section, and none is left without a document unless there are fewer
    documents than sections.
    """
    types = max(len(subdomain.types) for subdomain in outline.subdomains)
    slots = (
        (number, place, subdomain)
        for number in range(outline.ideas_per_type)
        for place in range(types)
        for subdomain in outline.subdomains
        if place < len(subdomain.types)
    )
    ideas: list[Idea] = []
    for position, (number, place, subdomain) in enumerate(itertools.islice(slots, documents)):
        shift = number + place
        assertion = subdomain.assertions[shift % len(subdomain.assertions)].text
        kind = subdomain.types[place]
        ideas.append(Idea(position, subdomain.domain, subdomain.name, kind, assertion, _angle(number, shift)))
    return ideas


def unwritten_sections(spec: Spec, outline: Outline, documents: int) -> dict[str, str]:
    """Sections of a spec that none of so many documents will be about: name -> why."""
    outlined = [subdomain.name for subdomain in outline.subdomains]
    reached = {idea.subdomain for idea in list_ideas(outline, documents)}
    silent = [name for _, name in section_names(spec.sections) if name not in outlined]
    ended_before = [name for name in outlined if name not in reached]
    return dict.fromkeys(silent, "it has no sentence to write about") | dict.fromkeys(
        ended_before, "the documents end before it"
    )


def _angle(number: int, shift: int) -> str:
    """Who sees it; past the list, with a number, so that no two ideas of one place are the same."""
    round_, place = divmod(number, len(ANGLES))
    angle = ANGLES[(place + shift * 7) % len(ANGLES)] if round_ == 0 else ANGLES[place]
    return angle if round_ == 0 else f"{angle}, view {round_ + 1}"


def _assertions(section: Section, assistant: str) -> tuple[Assertion, ...]:
    all_of_them = [each for each in sentences.split_sentences(section.text) if not sentences.about_the_text(each)]
    chosen = sentences.about_assistant(all_of_them, assistant) or all_of_them
    return tuple(Assertion(sentence, sentences.label(sentence)) for sentence in chosen)
