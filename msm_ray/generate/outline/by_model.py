"""An outline by a writer: the first five calls of the paper's six, level by level, each level's requests all at once.

A level that is given (domains in the settings, anything in an outline of one's own) is taken as it is; what it leaves out is
asked for. What can't be used costs itself: a subdomain without assertions or types is left out, and counted; a level with
nothing in it at all ends the outline.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from msm_ray.errors import QualityGateError
from msm_ray.generate.calls import Asked, Conversation
from msm_ray.generate.outline import answers
from msm_ray.generate.outline.answers import Item, key_of
from msm_ray.generate.outline.lists import Tally, Wanted, gather
from msm_ray.generate.outline.parts import Assertion, DocumentIdea, DocumentType, Outline, Subdomain, listed
from msm_ray.generate.outline.passages import find_section, uncovered_sections
from msm_ray.generate.outline.settings import OutlineContent
from msm_ray.generate.outline.yaml_file import Draft
from msm_ray.spec import Spec

NO_FACTS = "(none but what the specification says)"


@dataclass(frozen=True)
class _Making:
    """What all five calls share."""

    spec: Spec
    how: OutlineContent
    tally: Tally = field(default_factory=Tally)

    @property
    def values(self) -> dict[str, str]:
        """The slots of the block that every prompt begins with."""
        facts = "\n".join(f"- {fact}" for fact in self.spec.facts)
        return {
            "specification": self.spec.shown,
            "model_name": self.spec.assistant,
            "provider_name": self.spec.provider,
            "facts": facts or NO_FACTS,
        }

    def ask(self, lists: Sequence[Wanted]) -> Generator[Sequence[Asked], Sequence[Any], list[list[Item]]]:
        """One level's lists."""
        return gather(lists, self.how.empty_rounds, self.tally)

    def need(self, there: Sequence[Any], level: str, instead: str) -> None:
        """Raise QualityGateError where a level has nothing in it."""
        if not there:
            raise QualityGateError(
                f"The outline of {self.spec.name} has no {level}: no answer of the writer could be used{self._reasons(level)}. "
                f"Look at its answers with `msm show`, then {instead}, take another writer, or set documents.by: headings."
            )

    def _reasons(self, level: str) -> str:
        reasons = dict.fromkeys(each.reason for each in self.tally.rejected if each.level == level)
        return f" ({', '.join(reasons)})" if reasons else ""


def outline_conversation(spec: Spec, how: OutlineContent, *, given: Draft | None = None) -> Conversation[Outline]:
    """The outline of a spec by a writer that is asked what this yields. given: an outline of one's own (`read_draft`).

    Raises QualityGateError where a level has nothing that can be used.
    """
    making, given = _Making(spec, how), given or Draft(tuple(dict.fromkeys(how.domains)))
    domains = given.domains or (yield from _domains(making))
    subdomains = yield from _subdomains(making, domains, given.subdomains)
    subdomains = yield from _assertions(making, subdomains)
    subdomains = yield from _types(making, subdomains)
    subdomains = yield from _ideas(making, subdomains)
    missed = uncovered_sections(spec, [each.section for each in subdomains])
    return Outline(spec.name, 0, subdomains, how.family, making.tally.account(missed))


def _domains(making: _Making) -> Generator[Sequence[Asked], Sequence[Any], tuple[str, ...]]:
    call, most = answers.domains_call(), answers.MOST_DOMAINS
    (items,) = yield from making.ask([Wanted(call, making.values, making.spec.name, ["domain"], most)])
    making.need(items, "domains", "give documents.domains")
    return tuple(item["domain"] for item in items)


def _subdomains(
    making: _Making, domains: Sequence[str], given: Sequence[Subdomain]
) -> Generator[Sequence[Asked], Sequence[Any], tuple[Subdomain, ...]]:
    """The subdomains of every domain that none are given for, in the order of the domains."""
    call, listed = answers.subdomains_call(), "\n".join(f"- {domain}" for domain in domains)
    asked_for = [domain for domain in domains if domain not in {each.domain for each in given}]
    wanted = [
        Wanted(
            call,
            {**making.values, "domains": listed, "domain": domain},
            domain,
            ["name", "section"],
            answers.MOST_SUBDOMAINS,
            known=making.spec.text,
        )
        for domain in asked_for
    ]
    found = dict(zip(asked_for, (yield from making.ask(wanted)), strict=True))
    made = [
        subdomain for domain in domains for subdomain in (*_of(domain, given), *_new(domain, found.get(domain, ())))
    ]
    kept = _without_doubles(making, made, given)
    making.need(kept, "subdomains", "give documents.given with subdomains and their sections")
    unknown = [each for each in given if find_section(making.spec.text, each.section) is None]
    making.tally.counts.update("given sections not in the spec" for _ in unknown)
    return kept


def _of(domain: str, subdomains: Sequence[Subdomain]) -> list[Subdomain]:
    return [each for each in subdomains if each.domain == domain]


def _new(domain: str, items: Sequence[Item]) -> list[Subdomain]:
    return [Subdomain(domain, item["name"], item["section"], (), (), item["context"]) for item in items]


def _without_doubles(
    making: _Making, subdomains: Sequence[Subdomain], given: Sequence[Subdomain]
) -> tuple[Subdomain, ...]:
    """Domains are asked about each by itself, so two may have claimed one name or one passage: the first has it."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for each in subdomains:
        keys = {("name", key_of(each.name)), ("section", key_of(each.section))}
        if keys & seen and each not in given:
            making.tally.leave_out("subdomains", each.domain, "double", f"{each.name} · {each.section}")
        else:
            kept.append(each)
        seen |= keys
    return tuple(kept)


def _assertions(
    making: _Making, subdomains: Sequence[Subdomain]
) -> Generator[Sequence[Asked], Sequence[Any], tuple[Subdomain, ...]]:
    call, most = answers.assertions_call(making.how.family), answers.MOST_ASSERTIONS
    asked_for = [each for each in subdomains if not each.assertions]
    wanted = [Wanted(call, _about(making, each), each.name, ["assertion"], most) for each in asked_for]
    found = dict(zip(asked_for, (yield from making.ask(wanted)), strict=True))
    filled = [
        replace(each, assertions=each.assertions or tuple(_assertion(item) for item in found[each]))
        for each in subdomains
    ]
    kept = _having(making, filled, "assertions")
    making.need(kept, "assertions", "give documents.given with assertions")
    return kept


def _assertion(item: Item) -> Assertion:
    return Assertion(item["assertion"], item["label"], item["name"], item["explanation"])


def _types(
    making: _Making, subdomains: Sequence[Subdomain]
) -> Generator[Sequence[Asked], Sequence[Any], tuple[Subdomain, ...]]:
    most = making.how.types
    call, asked_for = answers.types_call(most), [each for each in subdomains if not each.types]
    wanted = [Wanted(call, _about(making, each), each.name, ["name"], most, has_target=True) for each in asked_for]
    found = dict(zip(asked_for, (yield from making.ask(wanted)), strict=True))
    filled = [
        replace(
            each, types=each.types or tuple(DocumentType(item["name"], item["description"]) for item in found[each])
        )
        for each in subdomains
    ]
    kept = _having(making, filled, "types")
    making.need(kept, "types", "give documents.given with types")
    return kept


def _ideas(
    making: _Making, subdomains: Sequence[Subdomain]
) -> Generator[Sequence[Asked], Sequence[Any], tuple[Subdomain, ...]]:
    """Ideas for every type of every subdomain that has none."""
    places = [(each, kind) for each in subdomains for kind in each.types if not kind.ideas]
    found = yield from making.ask([_wanted_ideas(making, *place) for place in places])
    ideas = {
        place: tuple(DocumentIdea(item["name"], item["idea"], item.get("rule", "")) for item in items)
        for place, items in zip(places, found, strict=True)
    }
    filled = [
        replace(each, types=tuple(replace(kind, ideas=kind.ideas or ideas[each, kind]) for kind in each.types))
        for each in subdomains
    ]
    empty = [(each.name, kind.name) for each in filled for kind in each.types if not kind.ideas]
    for subdomain, kind in empty:
        making.tally.leave_out("ideas", subdomain, "type without ideas", kind)
    kept = [replace(each, types=tuple(kind for kind in each.types if kind.ideas)) for each in filled]
    making.need([kind for each in kept for kind in each.types], "ideas", "give documents.given with ideas")
    return _having(making, kept, "types")


def _wanted_ideas(making: _Making, subdomain: Subdomain, kind: DocumentType) -> Wanted:
    most, family = making.how.ideas, making.how.family
    return Wanted(
        answers.ideas_call(family, most),
        {**_about(making, subdomain), "type": kind.name, "description": kind.description},
        f"{subdomain.name}: {kind.name}",
        ["idea"],
        most,
        has_target=True,
        known={key_of(each.name or each.text): each.name or each.text for each in subdomain.assertions},
        shown=lambda item: f"{item['name']}: {item['idea']}",
    )


def _having(making: _Making, subdomains: Sequence[Subdomain], level: str) -> tuple[Subdomain, ...]:
    """Subdomains without those that have nothing at a level, which are counted."""
    for each in subdomains:
        if not getattr(each, level):
            making.tally.leave_out(level, each.domain, f"subdomain without {level}", each.name)
    return tuple(each for each in subdomains if getattr(each, level))


def _about(making: _Making, subdomain: Subdomain) -> dict[str, str]:
    """The slots that say what a subdomain is."""
    return {
        **making.values,
        "domain": subdomain.domain,
        "subdomain": subdomain.name,
        "context": subdomain.context or "(not given)",
        "section": subdomain.section,
        "assertions": listed(subdomain.assertions),
    }
