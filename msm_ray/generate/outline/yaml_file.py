"""`outline.yaml`: an outline as people read and edit it, and read back with the place of whatever is wrong in it.

Ideas stand in it where a model made them; an outline by headings has a number of them for each type. A type of which nothing
is said but its name is that name alone.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from msm_ray.errors import SettingsError
from msm_ray.generate.outline.ideas import outline_counts
from msm_ray.generate.outline.parts import LABELS, Assertion, DocumentIdea, DocumentType, Outline, Subdomain
from msm_ray.generate.outline.rejected import write_rejected
from msm_ray.whole_files import write_whole
from msm_ray.yaml_tree import At, read_tree

FILE = "outline.yaml"
SHOWN = 6
FAMILIES = ("prose", "rules")
REMEDY = "Mend it, or delete it so that it is made anew."


@dataclass(frozen=True)
class Draft:
    """An outline in which levels may be missing. domains: all of them, in order, those without subdomains included."""

    domains: tuple[str, ...] = ()
    subdomains: tuple[Subdomain, ...] = ()


def write_outline(out: Path, outline: Outline) -> dict[str, int | float | str]:
    """`outline.yaml` in a folder, and what was left out beside it. Returns `outline_counts`."""
    write_whole(out / FILE, outline_text(outline))
    write_rejected(out, outline.account.rejected)
    _warn(outline)
    return outline_counts(outline)


def _warn(outline: Outline) -> None:
    """Tell what no document will be about, and what of the writer's answers was left out."""
    account = outline.account
    if account.not_covered:
        named = ", ".join(f"'{name}'" for name in account.not_covered[:SHOWN])
        more = f" and {len(account.not_covered) - SHOWN} more" if len(account.not_covered) > SHOWN else ""
        warnings.warn(
            f"Outline of {outline.spec}: no subdomain holds {named}{more} of the spec, or only the smaller part, so no "
            "document is likely to be about it. Add what is missing to outline.yaml, or take it so.",
            stacklevel=3,
        )
    if account.rejected:
        reasons = Counter(each.reason for each in account.rejected).most_common()
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons)
        warnings.warn(
            f"Outline of {outline.spec}: {len(account.rejected)} items of the writer's answers were left out ({listed}); "
            "`msm show` has them.",
            stacklevel=3,
        )


def outline_text(outline: Outline) -> str:
    """An outline as YAML. One by a model begins with what its sections leave out of the spec."""
    how = {"sort_keys": False, "allow_unicode": True, "width": 120}
    subdomains = [_subdomain_record(each) for each in outline.subdomains]
    if outline.ideas_per_type:
        record = {"spec": outline.spec, "ideas_per_type": outline.ideas_per_type, "subdomains": subdomains}
        return yaml.safe_dump(record, **how)
    record = {"spec": outline.spec, "family": outline.family, "subdomains": subdomains}
    return _head(outline) + yaml.dump(record, Dumper=_ForPeople, **how)


def read_outline(path: Path) -> Outline:
    """Read an outline written by `write_outline`, edits included. `path`: the file or its folder. Raises SettingsError."""
    path = path / FILE if path.is_dir() else path
    whole = _read(path)
    whole.only("spec", "ideas_per_type", "family", "subdomains")
    subdomains = tuple(_subdomain(part, whole=True) for part in whole.parts("subdomains"))
    if not subdomains:
        raise whole.wrong("subdomains", "there is none")
    per_type = whole.number("ideas_per_type") if "ideas_per_type" in whole.value else 0
    return Outline(whole.text("spec"), per_type, subdomains, whole.one_of("family", FAMILIES, "prose"))


def read_draft(path: Path) -> Draft:
    """Read an outline of one's own (`documents.given`), in which any level may be missing. Raises SettingsError.

    It has `subdomains`, each with domain, name and section at least, or `domains`, a list of names, or both.
    """
    whole = _read(path)
    whole.only("spec", "ideas_per_type", "family", "domains", "subdomains")
    domains = [part.itself() for part in whole.parts("domains", needed=False)]
    subdomains = tuple(_subdomain(part, whole=False) for part in whole.parts("subdomains", needed=False))
    domains = list(dict.fromkeys([*domains, *(each.domain for each in subdomains)]))
    if not domains:
        raise whole.wrong("subdomains", "there is none, and no domains either")
    return Draft(tuple(domains), subdomains)


# Writing ---------------------------------------------------------------------------------------------------------------
class _ForPeople(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # thousands of ideas take PyYAML's own minutes
    """Texts of several lines stand as they are."""

    def represent_text(self, text: str) -> yaml.Node:
        """A text as a block where it has line ends."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def ignore_aliases(self, data: Any) -> bool:
        """Nothing is said once for two places: who edits the one means the one."""
        return True


_ForPeople.add_representer(str, _ForPeople.represent_text)


def _head(outline: Outline) -> str:
    missed = outline.account.not_covered
    lines = ["What is edited here is what documents are written from."]
    if missed:
        lines.append(f"{len(missed)} of the spec's sections are in no subdomain, or for the smaller part:")
        lines += [f"- {' '.join(name.split())}" for name in missed]
    return "".join(f"# {line}\n" for line in lines)


def _subdomain_record(each: Subdomain) -> dict[str, Any]:
    return {
        "domain": each.domain,
        "name": each.name,
        **({"context": each.context} if each.context else {}),
        "section": each.section,
        "assertions": [_said(vars(assertion), "text", "label") for assertion in each.assertions],
        "types": [_type_record(kind) for kind in each.types],
    }


def _type_record(kind: DocumentType) -> str | dict[str, Any]:
    if not kind.description and not kind.ideas:
        return kind.name
    ideas = [_said({"name": idea.name, "idea": idea.text, "rule": idea.rule}, "name", "idea") for idea in kind.ideas]
    return {"name": kind.name, "description": kind.description, "ideas": ideas}


def _said(fields: dict[str, str], *always: str) -> dict[str, str]:
    """Fields without the empty ones that may be left out."""
    return {name: value for name, value in fields.items() if value or name in always}


# Reading ---------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Part:
    """A part of the file and where it stands."""

    path: Path
    at: At
    value: Any

    def wrong(self, key: str | int, what: str) -> SettingsError:
        """The error that something is not as it has to be, with its line if the file has that key."""
        at = (*self.at, *([key] if key != "" else []))
        named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")
        line = _line(self.path, at)
        place = f"{self.path}:{line}" if line else str(self.path)
        return SettingsError(f"Outline {place}: {named or 'the file'}: {what}. {REMEDY}")

    def only(self, *keys: str) -> None:
        """Refuse what is no mapping, and keys that mean nothing here."""
        if not isinstance(self.value, dict):
            raise self.wrong("", f"keys are expected ({', '.join(keys)})")
        for key in self.value:
            if key not in keys:
                raise self.wrong(key, f"no such key; there are {', '.join(keys)}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text; where there is none, the default."""
        value = self.value.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, "a text is expected")
        if not value.strip() and default is None:
            raise self.wrong(key, "it is empty" if key in self.value else "it is missing")
        return value if value.strip() else default or ""

    def one_of(self, key: str, names: tuple[str, ...], default: str | None = None) -> str:
        """One of several words."""
        value = self.text(key, default)
        if value not in names:
            raise self.wrong(key, f"'{value}' is none of {', '.join(names)}")
        return value

    def number(self, key: str) -> int:
        """A whole number above 0."""
        value = self.text(key)
        if not value.isdecimal() or not int(value):
            raise self.wrong(key, "a whole number above 0 is expected")
        return int(value)

    def parts(self, key: str, needed: bool = True) -> Iterator[_Part]:
        """The items of a list."""
        value = self.value.get(key, "")
        if value == "" and (not needed or key in self.value):
            return
        if not isinstance(value, list):
            raise self.wrong(key, "a list is expected" if key in self.value else "it is missing")
        for number, each in enumerate(value):
            yield _Part(self.path, (*self.at, key, number), each)

    def itself(self) -> str:
        """An item that is a text."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("", "a text is expected")
        return self.value


def _read(path: Path) -> _Part:
    """The whole file, every scalar as the text that stands there: a type called `no` is a name."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # thousands of ideas take PyYAML's own minutes
    try:
        value = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=loader)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Outline {path} cannot be read ({error}). {REMEDY}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SettingsError(
            f"Outline {place} is not valid YAML ({getattr(error, 'problem', error)}). {REMEDY}"
        ) from error
    if not isinstance(value, dict):
        raise _Part(path, (), value).wrong("", "keys are expected (spec, subdomains)")
    return _Part(path, (), value)


def _line(path: Path, at: At) -> int | None:
    """The line of a key, or of the nearest part around it that has one."""
    try:
        lines = read_tree(path.read_text(encoding="utf-8-sig"), str(path))[1]
    except (
        OSError,
        SettingsError,
    ):  # a file too large for that, or with a key twice: the place is told without its line
        return None
    return next((lines[at[:end]] for end in range(len(at), 0, -1) if at[:end] in lines), None)


def _subdomain(part: _Part, whole: bool) -> Subdomain:
    """whole: its assertions and types have to be there."""
    part.only("domain", "name", "context", "section", "assertions", "types")
    assertions = tuple(_assertion(each) for each in part.parts("assertions", needed=whole))
    if whole and not assertions:
        raise part.wrong("assertions", "there is none")
    return Subdomain(
        part.text("domain"),
        part.text("name"),
        part.text("section"),
        assertions,
        tuple(_type(each) for each in part.parts("types", needed=whole)),
        part.text("context", ""),
    )


def _assertion(part: _Part) -> Assertion:
    part.only("text", "label", "name", "explanation")
    return Assertion(
        part.text("text"), part.one_of("label", LABELS), part.text("name", ""), part.text("explanation", "")
    )


def _type(part: _Part) -> DocumentType:
    if isinstance(part.value, str):
        return DocumentType(part.itself())
    part.only("name", "description", "ideas")
    ideas = tuple(_idea(each) for each in part.parts("ideas", needed=False))
    return DocumentType(part.text("name"), part.text("description", ""), ideas)


def _idea(part: _Part) -> DocumentIdea:
    part.only("name", "idea", "rule")
    return DocumentIdea(part.text("name", ""), part.text("idea"), part.text("rule", ""))
