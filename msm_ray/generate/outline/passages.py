"""Passages of a spec found again in what a model says it copied, so that a section is always the spec's own words.

Words are compared, whatever stands between them: white space, quotes, dashes, list marks and emphasis are the spec's in the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from msm_ray.spec import Spec, section_names

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
MARKUP = re.compile(r"\]\([^)\n]*\)|\[\^[^\]\n]+\]|\{\#[^}\n]*\}|&\#?\w+;|</?\w[^>\n]*>")
"""Addresses of links, marks of notes, anchors, entities and tags: what has letters in it and is no word."""
HANGING = re.compile(rf"(?:{MARKUP.pattern}|[^\w\s])*")
PARAGRAPHS = re.compile(r"\n[ \t]*\n|\[?(?:\.\.\.|…)\]?")
"""Where what a model copied may go on elsewhere in the spec: an empty line, or dots."""
SENTENCE_ENDS = (".", "!", "?", "\n\n")
HEADING_LINE = re.compile(r"^ {0,3}#{1,6} .*\n", re.MULTILINE)
LEAST_ALIKE = 0.7
"""Share of a passage's words that have to stand in the spec, in order and near each other. A copy with a word changed here and
there has over .9, another section of the same spec below .3."""
LEAST_FOUND = 0.5
"""Share of a section's words that have to be in passages of the spec."""
LEAST_RUN = 3
"""Words in a row that count as copied: shorter runs are found between any two texts."""
LEAST_COVERED = 0.5
"""Share of the runs of words of a spec's section that has to be in some subdomain for the section to count as covered."""


@dataclass(frozen=True)
class Found:
    """A section in the spec's own words. verbatim: it was copied word by word."""

    text: str
    verbatim: bool


def find_section(text: str, section: str) -> Found | None:
    """What of the text of a spec is meant by a section that a model copied; None where the spec does not say it.

    A copy with changed words is replaced by the spec's whole sentences there; paragraphs that are not in the spec are left out,
    and where these are more than half of it the section is none.
    """
    words, asked = _words_at(text), _words(section)
    if len(asked) >= LEAST_RUN and (whole := _exact(words, asked)):
        return Found(_cut(text, [whole]), True)
    # A heading of a word or two is found anywhere, and says nothing of where a section stands.
    parts = [part for each in PARAGRAPHS.split(section) if len(part := _words(each)) >= LEAST_RUN]
    exact = [_exact(words, part) for part in parts]
    spans = [same or _alike(text, words, part) for same, part in zip(exact, parts, strict=True)]
    found = [(span, len(part)) for span, part in zip(spans, parts, strict=True) if span]
    if not found or sum(size for _, size in found) < LEAST_FOUND * sum(len(part) for part in parts):
        return None
    return Found(_cut(text, [span for span, _ in found]), all(exact))


@lru_cache(maxsize=8)
def _words_at(text: str) -> list[tuple[str, int, int]]:
    """Every word of a text with where it begins and ends."""
    return [(_plain(match.group()), match.start(), match.end()) for match in WORD.finditer(_without_markup(text))]


def uncovered_sections(spec: Spec, sections: Iterable[str]) -> tuple[str, ...]:
    """Names of the spec's sections of which less than half is in any of these."""
    there = {run for section in sections for run in _runs(_words(section))}
    named = zip(section_names(spec.sections), spec.sections, strict=True)
    return tuple(
        name
        for (_, name), section in named
        if (runs := _runs(_words(section.text))) and len(runs & there) < LEAST_COVERED * len(runs)
    )


def _words(text: str) -> list[str]:
    return [_plain(word) for word in WORD.findall(_without_markup(text))]


def _without_markup(text: str) -> str:
    """A text of the same length in which only words are left of links and the like."""
    return MARKUP.sub(lambda found: " " * len(found.group()), text)


def _plain(word: str) -> str:
    return word.casefold().replace("’", "'")


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    size = min(LEAST_RUN, len(words))
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)} if words else set()


def _exact(words: Sequence[tuple[str, int, int]], asked: Sequence[str]) -> tuple[int, int] | None:
    """(start, end) in the text of words that stand there one after the other."""
    first, size = asked[0], len(asked)
    for at, (word, start, _) in enumerate(words[: len(words) - size + 1]):
        if word == first and [each for each, _, _ in words[at : at + size]] == list(asked):
            return start, words[at + size - 1][2]
    return None


def _alike(text: str, words: Sequence[tuple[str, int, int]], asked: Sequence[str]) -> tuple[int, int] | None:
    """(start, end) of the whole sentences of the text in which most of these words stand in order."""
    matcher = SequenceMatcher(None, [word for word, _, _ in words], asked, autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size >= LEAST_RUN]
    longest = 1.5 * len(asked)
    near = [
        [other for other in blocks[at:] if other.a + other.size - block.a <= longest] for at, block in enumerate(blocks)
    ]
    best = max(near, key=lambda group: sum(block.size for block in group), default=[])
    if sum(block.size for block in best) < LEAST_ALIKE * len(asked):
        return None
    return _sentences(text, words[best[0].a][1], words[best[-1].a + best[-1].size - 1][2])


def _sentences(text: str, start: int, end: int) -> tuple[int, int]:
    """A span that begins where a sentence begins and ends where one ends."""
    before = max(text.rfind(mark, 0, start) for mark in SENTENCE_ENDS)
    before = max([before, *(heading.end() - 1 for heading in HEADING_LINE.finditer(text, before + 1, start))])
    after = [at for mark in SENTENCE_ENDS if (at := text.find(mark, end)) >= 0]
    return before + 1, min(after, default=len(text))


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    """The spans of a text with the marks that hang on them, in order, overlapping ones together, parted by empty lines."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(_with_marks(text, *span) for span in spans):
        if joined and not WORD.search(text, joined[-1][1], start):
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return "\n\n".join(text[start:end].strip() for start, end in joined)


def _with_marks(text: str, start: int, end: int) -> tuple[int, int]:
    """A span with the quotes, emphasis and full stop beside it, and the list mark that its line begins with."""
    while start and not text[start - 1].isspace() and not text[start - 1].isalnum():
        start -= 1
    line = text.rfind("\n", 0, start) + 1
    if re.fullmatch(r"[ \t]*(?:[-*+>]|#{1,6}|\d+[.)])[ \t]*", text[line:start]):
        start = line
    hanging = HANGING.match(text, end)
    return start, hanging.end() if hanging else end
