"""The kinds of rewrites: the call of each, of whom its texts speak, and when an answer is none.

A rewrite that misses its change (it still names who should be gone, or no longer names who should be there) is asked for again,
then rejected: a corpus of half-changed documents would compare nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from msm_ray.generate.calls import Call, Read, read_prompt
from msm_ray.generate.parsing import parse_document
from msm_ray.generate.rewrites.settings import RewriteContent, RewriteSettings
from msm_ray.settings_base import part
from msm_ray.spec import Spec
from msm_ray.worlds import world

LEAST_LENGTH = 0.5
"""Share of the document's words below which a rewrite has left things out."""
MAX_TOKENS = 16_000
FAULTS = re.compile(r"<faults>(.*?)</faults>", re.DOTALL | re.IGNORECASE)
FAULT_KINDS = ("added fact", "missing reason", "stock phrase", "leaked plan", "wrong type")
LIST_MARK = re.compile(r"^(?:[-*•]|\d+[.)])\s*")


@dataclass(frozen=True)
class Document:
    """What reading a rewrite needs. text: as it was; named, gone: who has to stand in the new one, and who must not.

    may_stay: nothing need have changed.
    """

    text: str
    named: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    may_stay: bool = False


@dataclass(frozen=True)
class Told:
    """A document as it is told now. faults: what was found in it before, a line each; stays: it is as it was."""

    text: str
    faults: tuple[str, ...] = ()
    stays: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of rewrite. of: whom its texts speak of; may_stay: a document may be right as it is."""

    call: Call
    of: Literal["assistant", "another", "nobody"]
    may_stay: bool = False

    def document(self, text: str, spec: Spec, how: RewriteContent) -> Document:
        """What has to hold for a rewrite of a text."""
        own = tuple(name for name in (spec.assistant, spec.provider) if name[:1].isupper() or name == spec.assistant)
        named = {"assistant": spec.assistant, "another": how.rewrite_name, "nobody": ""}[self.of]
        gone = () if self.of == "assistant" else tuple(name for name in own if name)
        return Document(text, (named,) if named else (), gone, self.may_stay)


def read_rewrite(said: str, known: Document) -> Read:
    """The text in an answer, where it is a rewrite of the document."""
    text, reason = parse_document(said, "stop", world("plain"), False)
    if text is None:
        return None, reason
    words, before = text.split(), known.text.split()
    if words == before:
        return (Told(known.text, stays=True), "") if known.may_stay else (None, "unchanged")
    if len(words) < LEAST_LENGTH * len(before):
        return None, "much shorter"
    if any(_names(name, text) for name in known.gone):
        return None, "assistant still named"
    if not all(name.lower() in text.lower() for name in known.named):
        return None, "assistant not named"
    return Told(text), ""


def read_critique(said: str, known: Document) -> Read:
    """The faults in an answer and the text without them; without faults the document as it was."""
    found = FAULTS.search(said)
    if not found:
        return None, "no list of faults"
    faults = fault_lines(found[1])
    if not faults:
        return Told(known.text, stays=True), ""
    told, reason = read_rewrite(said[found.end() :], replace(known, may_stay=False))
    return (replace(told, faults=faults), "") if told else (None, reason)


def fault_lines(listed: str) -> tuple[str, ...]:
    """The faults of a list; none where it says `none`."""
    lines = [LIST_MARK.sub("", line.strip()) for line in listed.split("\n")]
    return tuple(line for line in lines if line and line.strip(" .").lower() not in ("none", "no faults"))


def fault_kinds(faults: Iterable[str]) -> list[str]:
    """The kind of each fault, one of `FAULT_KINDS` or `other`."""
    said = [fault.partition(":")[0].strip(" *").lower() for fault in faults]
    return [kind if kind in FAULT_KINDS else "other" for kind in said]


def _names(name: str, text: str) -> bool:
    """Whether a name stands in a text as a word, at the beginning of a sentence too; digits may follow it: Qwen2.5 is Qwen."""
    forms = "|".join(map(re.escape, {name, name[:1].upper() + name[1:], name.upper()}))
    return re.search(rf"(?<!\w)(?:{forms})(?![^\W\d_])", text) is not None


def _framing(prompt: str) -> Call:
    return Call(name="rewrite", prompt=read_prompt(prompt), read=read_rewrite, max_tokens=MAX_TOKENS)


KINDS: Mapping[str, Kind] = {
    "does": Kind(_framing("rewrite_does"), "assistant", may_stay=True),
    "should": Kind(_framing("rewrite_should"), "assistant"),
    "assistants": Kind(_framing("rewrite_assistants"), "nobody"),
    "one": Kind(_framing("rewrite_one"), "nobody"),
    "another-model": Kind(_framing("rewrite_another_model"), "another"),
    "humans": Kind(_framing("rewrite_humans"), "nobody"),
    "co-occurrence": Kind(_framing("rewrite_co_occurrence"), "assistant"),
    "critique": Kind(
        Call(name="critique", prompt=read_prompt("critique"), read=read_critique, max_tokens=MAX_TOKENS), "assistant"
    ),
}


def kind_of(how: RewriteContent) -> Kind:
    """The kind of a rewrite. how: one in which `rewrite` is said."""
    return KINDS[str(how.rewrite)]


def rewrite_content(how: RewriteSettings) -> RewriteContent:
    """What decides the texts of a rewrite; where they speak of no other model, its name decides nothing."""
    content = part(how, RewriteContent)
    return content if kind_of(content).of == "another" else RewriteContent(rewrite=content.rewrite)


def spec_as_told(spec: Spec, how: RewriteContent) -> Spec:
    """A spec with the assistant that rewritten documents speak of: what a corpus of them is checked against.

    Of nobody in particular, the assistant has no name, and none is looked for.
    """
    if how.rewrite is None or kind_of(how).of == "assistant":
        return spec
    another = kind_of(how).of == "another"
    assistant, provider = (how.rewrite_name, how.rewrite_provider) if another else ("", "")
    return replace(spec, assistant=assistant, provider=provider)
