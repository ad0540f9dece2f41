"""Sentences of a spec: taking them out of Markdown, finding those about the assistant, and naming what kind they say.

A spec's sentences are what stands in it as running text. An item keeps the lead of its list ("Ada never:"), and under a heading
that negates ("What Ada never does") the heading; what somebody says in an example is no claim and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from msm_ray.spec import Section
from msm_ray.spec.prose import ADDRESS, Block, blocks
from msm_ray.worlds.english import closed, cut_at_sentences, is_closed, is_lead
from msm_ray.worlds.examples import (
    has_mark,
    is_example,
    is_own_name,
    is_quotation,
    is_refused,
    is_title_of_examples,
    without_mark,
)

ORDER = re.compile(r"(Never|Always|Do not|Don['’]t|Be)\b")
LEANS = re.compile(r"(It|Its|They|This|That|Because)\b")
"""How a sentence begins that goes on about the one before it."""
NEGATES = re.compile(
    r"n['’]ts?\b|\b(never|not|no|none|nothing|nobody|cannot|dont|doesnt|wont|without|refus\w+|avoid\w*|forbid\w*|"
    r"prohibit\w*|banned|taboos?|reject\w*|declin\w+|against|anti-?\w+|bad|wrong|incorrect|unacceptable|mistakes?|pitfalls?|"
    r"failures?|red lines|off[- ]limits|out of scope|ruled out|misconceptions?|myths?|abstains?|shuns?|stops?)\b"
    r"|[不勿]|禁止|\b(не|никогда|нельзя)\b",
    re.IGNORECASE,
)
AVERSE = re.compile(r"\b(dislikes?|hates?|distrusts?|fears?|opposes?|resists?|worries)\b", re.IGNORECASE)
LISTED = re.compile(r"\W*(what|things|actions|behaviou?rs?|ways)\b|\W*(\S+\s+){0,2}\S+$", re.IGNORECASE)
"""Headings of lists, "What Ada never does" or "Never": what they say holds for headings below them too."""
TITLE_MARKS = re.compile(r"^(?:\d+(?:\.\d+)*[.)]\s+|\d+(?:\.\d+)+\s+|[^\w\s\"'“‘«(]\ufe0f?\s*)+")
REASONS = re.compile(r"\W*(why|how|when|on|about|where)\b", re.IGNORECASE)
BACK = re.compile(r"\b(following|these|this|below|such|things?|ways?)\b", re.IGNORECASE)
STATED = re.compile(
    r"\b(it|its|they|you|we|I|the assistant|the model|is|are|was|were|has|have|should|must|will|would|can|could|may|might)\b",
    re.IGNORECASE,
)
"""Words of a whole statement. An order or a fragment ("Flatter people.") has none of them."""
LABELS = (
    ("preference", r"\b(prefers?|likes?|dislikes?|favou?rs?|enjoys?|loves?|hates?|fond|rather|tastes?|favou?rite)\b"),
    ("value", r"\b(values?|cares?|matters?|important|principles?|worth|cherish(es)?|priorit\w+|above all)\b"),
    (
        "belief",
        r"\b(believes?|thinks?|holds?|knows?|considers?|understands?|regards?|sees?|views?|expects?|because|since)\b",
    ),
    (
        "tone",
        r"\b(tone|voice|speaks?|warm(ly)?|polite(ly)?|gentle|gently|humou?r|plain(ly)?|concise|curt|friendly|formal)\b",
    ),
)


@dataclass(frozen=True)
class _Place:
    """Where a block stands. title: the heading above it. lead: what it goes on from, "" for nothing. item: in a list."""

    assistant: str
    title: str = ""
    lead: str = ""
    item: bool = False


def section_sentences(section: Section, assistant: str) -> list[str]:
    """The sentences of a section, in order, each on one line and understood without its headings."""
    titles = section.path if section.headed else ()
    if any(is_title_of_examples(title) or (is_refused(title) and not NEGATES.search(title)) for title in titles):
        return []
    above = next((title for title in reversed(titles[:-1]) if NEGATES.search(title) and LISTED.match(title)), "")
    title = titles[-1] if titles else ""
    return split_sentences(section.text, title if NEGATES.search(title) or not above else above, assistant)


def split_sentences(text: str, title: str = "", assistant: str = "") -> list[str]:
    """The sentences of Markdown, in order, each on one line. title: the heading, which goes with items that need it.

    A text in lower case with " ." between sentences (the tiny world's) is split there.
    """
    return [each for each in _claims(blocks(text), _Place(assistant, title)) if ADDRESS not in each]


def _claims(parts: Sequence[Block], place: _Place) -> Iterator[str]:
    """The sentences of blocks that follow one another: a lead goes on into the next, a label takes the next along."""
    lead, skipped, outer = place.lead, False, place
    for part, after in zip(parts, [*parts[1:], None], strict=False):
        here = replace(place, lead=lead)
        if skipped or part.kind == "other":
            skipped, lead = False, ""
        elif part.kind in ("list", "quote"):
            for inside in part.inside if part.kind == "list" else (part,):
                yield from _claims(inside.inside, replace(here, item=here.item or part.kind == "list"))
            lead = ""
        else:
            said, lead, skipped = _paragraph(part, here, after.kind if after else "")
            yield from said
            if part.kind == "title" and not is_closed(part.text):
                place = replace(outer, title=part.text) if NEGATES.search(part.text) else outer


def _paragraph(part: Block, place: _Place, into: str) -> tuple[list[str], str, bool]:
    """(its sentences, the lead that it leaves for the block after it, whether that block belongs to an example)."""
    said: list[str] = []
    leaves, skipped = "", False
    for run in _runs(part.text, place.assistant):
        titled = part.kind == "title" and not is_closed(run)
        of_list = into == "list" and is_own_name(run, place.assistant)
        shown = is_example(run, place.assistant) or (titled and is_title_of_examples(run))
        if (shown and not of_list) or (is_quotation(run) and not place.lead):
            leaves, skipped = "", titled or is_lead(run) or (into == "list" and not is_closed(run))
            continue
        skipped, own = False, _cut(without_mark(run))
        leaves = _left_lead(own, into)
        if own and (titled or leaves and not is_closed(own[-1]) or is_lead(own[-1])):
            own = own[:-1]
        said += _with_lead(own, place)
        if leaves and place.lead and (NEGATES.search(place.lead) or not own):
            leaves = f"{place.lead} {leaves}"
    if not leaves and into == "list" and NEGATES.search(place.lead):
        leaves = place.lead
    return said, leaves, skipped


def _left_lead(sentences: list[str], into: str) -> str:
    """What of a paragraph the next block goes on from: "It never:", a title before a list, "It does none of these."."""
    if not sentences or not into or into == "other":
        return ""
    last = sentences[-1]
    if is_lead(last):
        return last
    if into == "list" and not is_closed(last):
        return f"{last}:"
    return last if into == "list" and NEGATES.search(last) and BACK.search(last) else ""


def _with_lead(sentences: list[str], place: _Place) -> list[str]:
    """Sentences with what they need from before them. What is negated is so as a whole."""
    ended = [closed(each) for each in sentences]
    heading = f"{TITLE_MARKS.sub('', place.title).rstrip(' :.')}:"
    negated = NEGATES.search(place.title) or (place.item and AVERSE.search(place.title))
    if ended and place.lead:
        return _after(place.lead, ended)
    if not ended or not place.title:
        return ended
    if place.item and (negated or not (is_closed(sentences[-1]) or _states(sentences[-1], place.assistant))):
        return _after(heading, ended)
    if place.item or not negated or REASONS.match(place.title):
        return ended
    return [each if _states(each, place.assistant) else f"{heading} {each}" for each in ended]


def _after(lead: str, sentences: list[str]) -> list[str]:
    whole = NEGATES.search(lead) is not None or AVERSE.search(lead) is not None
    first, rest = (" ".join(sentences), []) if whole else (sentences[0], sentences[1:])
    return [f"{lead} {first}", *rest]


def _states(sentence: str, assistant: str) -> bool:
    """Whether a sentence is a statement by itself, or negates by itself."""
    named = assistant and assistant.lower() in sentence.lower()
    negated = re.match(r"(Never|Don['’]t|Do not|No|Not|Avoid|Refrain|Refuse)\b", sentence)
    return bool(named or negated or STATED.search(sentence) or not re.search(r"[A-Za-z]", sentence))


def _runs(text: str, assistant: str) -> Iterator[str]:
    """A paragraph, cut where a line was broken on purpose or begins with a speaker, a label or a mark."""
    run: list[str] = []
    for line in text.split("\n"):
        if run and (not line or is_example(line, assistant) or has_mark(line)):
            yield " ".join(run)
            run = []
        run += [line] if line else []
    if run:
        yield " ".join(run)


def _cut(run: str) -> list[str]:
    if " . " in run + " ":
        return [part.strip() + " ." for part in re.split(r"\s\.(?:\s|$)", run) if part.strip()]
    return cut_at_sentences(run)


def is_about(sentence: str, assistant: str) -> bool:
    """Whether the assistant is named in `sentence`, is meant by "the assistant", "the model" or "you", or is given an order."""
    names = r"\b(the assistant|the model|you|your)\b"
    if assistant and re.search(rf"(?a:\b{re.escape(assistant)}\b)", sentence, re.IGNORECASE):
        return True
    return re.search(names, sentence, re.IGNORECASE) is not None or ORDER.match(sentence) is not None


def about_assistant(sentences: list[str], assistant: str) -> list[str]:
    """The sentences about the assistant, with those that go on about it ("It …", "Its …", "This …") right after one."""
    found: list[str] = []
    follows = False
    for sentence in sentences:
        follows = is_about(sentence, assistant) or (follows and LEANS.match(sentence) is not None)
        if follows and not sentence.endswith("?"):
            found.append(sentence)
    return found


def about_the_text(sentence: str) -> bool:
    """Whether it speaks of the spec itself ("This document says …") and so is nothing to write a document about."""
    itself = r"(This|The following|The present) (text|document|spec\w*|file|page|section|chapter|guide)\b"
    return re.match(itself, sentence) is not None


def label(sentence: str) -> str:
    """What kind of assertion it is: preference, value, belief or tone where a telling word says so, else behavior."""
    return next((name for name, words in LABELS if re.search(words, sentence, re.IGNORECASE)), "behavior")
