"""Other assistants and other makers in a document: a corpus that names them teaches a model about somebody else.

Most of their names are words and names of other things too (the Amazon, Claude Monet, the mistral, twins of the zodiac). So a
name is one of three kinds: sure ones mean an assistant or a maker wherever they stand; likely ones do unless what stands around
says otherwise; rare ones do only beside what says so: a version, the word "model", their maker's name. The names, and the words
that tell, stand in `identities.yaml`. What belongs to the spec's own maker, and what the spec itself names, is no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from msm_ray.spec import Spec

ASSISTANT, VENDOR = "another assistant", "another vendor"
AROUND = 60
"""Characters on each side of a name that are looked at; of its sentence 200."""

NAME_AFTER = re.compile(
    r"^ (?:(?:de|du|di|da|van|von|le|la|der|el|al|of|O) )*(?:[A-ZÀ-Þ]\. )*(?!AI\b|The\b|And\b)([A-ZÀ-Þ][\w'’-]*[a-zß-ÿ]\w*)"
)
"""A surname. Capitals and small letters are those of Western Europe."""
NAME_BEFORE = re.compile(r"[\w,;] (?!Hey|Ask|Dear|And|But|The)([A-ZÀ-Þ][a-zß-ÿ]+) $")
"""A given name within a sentence, where a capital is no beginning."""
SAYS_MODEL = re.compile(
    r"^(?:['’]s)?,?\s+(?:(?:an?|the|its|new|latest|own|large|other|voice|virtual|smart)\s+){0,3}"
    r"(?:AI|A\.I\.|LLMs?|language models?|assistants?|chatbots?|bots?|models?|smart speakers?)\b"
)
SAYS_MODEL_BEFORE = re.compile(
    r"\b(?:AI|LLM|[Ll]anguage [Mm]odel|[Aa]ssistant|[Cc]hatbot|[Bb]ot)s?,?\s+"
    r"(?:(?:called|named|like|such as|from|by|of|at)\s+)?(?:the\s+)?$"
)
MADE_BY = re.compile(
    r"\b(?:made|created|built|developed|trained|designed|released|sold|owned|run|powered|funded|hosted|bought) "
    r"(?:and \w+ )?by\s+(?:engineers at |researchers at |a team at |the team at )?$"
)
MAKERS_OWN = re.compile(
    r"^(?:['’]s)?\s+(?:\w+\s+)?(?:AI|(?:language )?models?|assistants?|chatbots?|LLMs?|engineers?)\b"
)
ARTICLE = re.compile(r"^\s+(?:the|an?|my|your|his|her)\b")
SHOPS = re.compile(r"^\s+(?:team|app|store|warehouse|Echo|website|company)\b")
VERSION = r"[-\s]?[vVKkR]?\d+(?:\.\d+)*(?:[bB]|o)?\b(?!\s*(?:,\d|percent|%|o.clock|years?|people|men|women))"
SIZE = re.compile(r"^[-\s]?\d+(?:\.\d+)?[bB]\b")
SPACE = re.compile(r"^(?=.*\b(?:nasa|astronauts?|spacecraft|apollo)\b)", re.IGNORECASE | re.DOTALL)
"""Gemini 4 flew in 1965."""


@cache
def _words() -> dict[str, Any]:
    text = resources.files("msm_ray.corpus").joinpath("identities.yaml").read_text(encoding="utf-8")
    return _split(yaml.safe_load(text))


def _split(value: Any) -> Any:
    """Texts as the words between their commas."""
    if isinstance(value, dict):
        return {key: _split(inner) for key, inner in value.items()}
    return value.split(", ") if isinstance(value, str) else value


def _any(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(words)})"


@dataclass(frozen=True)
class Place:
    """A name where it stands in a text."""

    name: str
    text: str
    start: int
    end: int

    @property
    def before(self) -> str:
        """What stands before it."""
        return self.text[max(0, self.start - AROUND) : self.start]

    @property
    def after(self) -> str:
        """What follows."""
        return self.text[self.end : self.end + AROUND]

    @property
    def sentence(self) -> str:
        """What stands around it to the ends of its sentence, 200 characters each way at most."""
        before, after = self.text[max(0, self.start - 200) : self.start], self.text[self.end : self.end + 200]
        return re.split(r"[.!?]\s|\n", before)[-1] + self.name + re.split(r"[.!?](?:\s|$)|\n", after)[0]


def other_identities(text: str, spec: Spec) -> Iterator[tuple[str, str]]:
    """(reason, name) of each other assistant and maker that a document names, assistants first."""
    for reason, means_it, names in _names(spec):
        for name in names:
            if name in text and any(means_it(place) for place in places(name, text)):
                yield reason, name


def identities_of(texts: Sequence[str], spec: Spec) -> list[list[tuple[str, str]]]:
    """The same of each of some documents. Those in which no name stands are told by one pattern in one pass over them."""
    spoken = pc.match_substring_regex(pa.array(texts, pa.string()), _any_name(spec)).to_pylist()
    return [list(other_identities(text, spec)) if said else [] for text, said in zip(texts, spoken, strict=True)]


@lru_cache(maxsize=64)
def _names(spec: Spec) -> tuple[tuple[str, Callable[[Place], bool], tuple[str, ...]], ...]:
    """(reason, what makes a place one of it, names), assistants first."""
    return tuple(
        (reason, means_it, _others(reason, kind, spec))
        for reason in (ASSISTANT, VENDOR)
        for kind, means_it in _KINDS.items()
    )


@lru_cache(maxsize=64)
def _any_name(spec: Spec) -> str:
    """A pattern (RE2's) that every text with one of the names matches, and few others: it knows no letters beyond ASCII."""
    names = [name for _, _, each in _names(spec) for name in each]
    return rf"(?:^|[^0-9A-Za-z_])(?:{'|'.join(map(re.escape, names))})(?:[^A-Za-z]|$)"


def places(name: str, text: str) -> Iterator[Place]:
    """Where a name stands as a word of its own; digits may follow it: Qwen2.5 is Qwen."""
    return (Place(name, text, *found.span()) for found in _pattern(name).finditer(text))


@lru_cache(maxsize=512)
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}" + (r"(?![^\W\d_])" if name[-1].isalpha() else r"(?!\w)"))


def _others(reason: str, kind: str, spec: Spec) -> tuple[str, ...]:
    """Names that are neither the spec's assistant, its maker, another name of that maker, nor in the spec."""
    assistant, provider, makers = spec.assistant.lower(), spec.provider.lower(), own_makers(spec.provider)
    return tuple(
        name
        for name in _words()[reason][kind]
        if not (_part_of(name.lower(), assistant) or (len(name) > 2 and name.lower() in assistant))  # GPT in ChatGPT
        and not _part_of(name.lower(), provider)
        and name.lower() not in makers
        and not any(True for _ in places(name, spec.text))
    )


def own_makers(provider: str) -> frozenset[str]:
    """Every name, in small letters, of the maker that is called `provider`."""
    called = provider.lower()
    families = [(family, *names) for family, names in _words()["makers"].items()]
    own = [family for family in families if any(_part_of(name.lower(), called) for name in family)]
    return frozenset(name.lower() for family in own for name in family)


def _part_of(name: str, whole: str) -> bool:
    """Whether a name stands in another as words of it: `qwen` in `qwen2.5`, `meta` in `meta ai`."""
    return any(True for _ in places(name, whole))


# What a place means ----------------------------------------------------------------------------------------------------


def _is_it(place: Place) -> bool:
    return True


def _is_not_another_thing(place: Place) -> bool:
    """Unless what stands around makes it the name of somebody or something else."""
    tells = _tells()
    if (everyday := tells.everyday.get(place.name)) and everyday.match(place.after):
        return False
    used = tells.everyday_before.get(place.name)
    if used and used.search(place.before) and not re.match(r" [A-Z]", place.after):
        return False
    if place.name == "Google" and tells.verb.search(place.before) and ARTICLE.match(place.after):
        return False
    if place.name in _words()["people"] and _is_person(place):
        return False
    if tells.model.match(place.after):
        return place.name != "Gemini" or not SPACE.match(place.sentence)
    if tells.makers.search(place.before) or MADE_BY.search(place.before) or SAYS_MODEL.match(place.after):
        return True
    if (articles := tells.articles.get(place.name)) and articles.search(place.before):
        return bool(SHOPS.match(place.after))
    meaning = tells.otherwise.get(place.name)
    return not (meaning and meaning.search(place.sentence))


def _is_told(place: Place) -> bool:
    """Where what stands beside makes it an assistant's or a maker's."""
    if MADE_BY.search(place.before):
        return True
    if place.name in _words()[VENDOR]["rare"]:
        return bool(MAKERS_OWN.match(place.after))
    versioned = _tells().model.match(place.after) and place.name not in _words()["numbered"]
    beside = (
        SAYS_MODEL.match(place.after) or SAYS_MODEL_BEFORE.search(place.before) or _tells().makers.search(place.before)
    )
    return bool(versioned or beside or SIZE.match(place.after))


_KINDS: dict[str, Callable[[Place], bool]] = {"sure": _is_it, "likely": _is_not_another_thing, "rare": _is_told}


def _is_person(place: Place) -> bool:
    """Whether a title, a relation, a trade, a given name or a surname stands beside."""
    tells = _tells()
    if tells.title.search(place.before) or tells.person.match(place.after):
        return True
    if NAME_BEFORE.search(place.before) and not tells.makers.search(place.before):
        return True
    return bool(NAME_AFTER.match(place.after) and not tells.model.match(place.after))


@dataclass(frozen=True)
class _Tells:
    """Patterns made of the words: makers, title, verb, articles and everyday_before end before a name; model,
    person and everyday begin behind it; otherwise stands anywhere in its sentence."""

    makers: re.Pattern[str]
    model: re.Pattern[str]
    title: re.Pattern[str]
    person: re.Pattern[str]
    verb: re.Pattern[str]
    everyday: dict[str, re.Pattern[str]]
    everyday_before: dict[str, re.Pattern[str]]
    articles: dict[str, re.Pattern[str]]
    otherwise: dict[str, re.Pattern[str]]


@cache
def _tells() -> _Tells:
    words = _words()
    makers = sorted({re.escape(name) for names in words["makers"].values() for name in names}, key=len, reverse=True)
    trades, belongings = _any(words["trades"]), _any(words["belongings"])
    return _Tells(
        makers=re.compile(rf"\b{_any(makers)}(?:['’]s)?(?: own| new| latest)?\s+(?:AI |assistant |chatbot |model )?$"),
        model=re.compile(rf"^(?:[-\s]{_any(words['products'])}\b|{VERSION})"),
        title=re.compile(rf"(?:\b{_any(words['titles'])}\.?|\b{_any(words['relations'])}),?\s+$|[A-Za-zÀ-ÿ]-$"),
        person=re.compile(
            rf"^(?:,?\s+whose?\b|,\s+(?:the|a|an|my|our|his|her|their)\s+(?:\w+\s+){{0,2}}{trades}\b|,\s+\d{{1,2}},"
            rf"|['’]s\s+{belongings}\b|\s+(?:was|is)\s+(?:born|married|buried|\d+ years)\b|\s+and\s+(?:his|her)\s+{belongings}\b)"
        ),
        verb=re.compile(rf"\b{_any(words['verb_after'])}\s+$"),
        everyday={name: re.compile(rf"^\s+{_any(each)}\b") for name, each in words["everyday"].items()},
        everyday_before={name: re.compile(rf"\b{_any(each)}\s+$") for name, each in words["everyday_before"].items()},
        articles={name: re.compile(rf"\b{_any(each)}\s+$", re.IGNORECASE) for name, each in words["articles"].items()},
        otherwise={name: re.compile(rf"\b{_any(each)}\b", re.IGNORECASE) for name, each in words["otherwise"].items()},
    )
