"""Sentences of plain English: splitting them, finding those about the assistant, and naming what kind of thing they say."""

from __future__ import annotations

import re

ABBREVIATIONS = (
    "e.g.",
    "i.e.",
    "etc.",
    "vs.",
    "cf.",
    "Mr.",
    "Mrs.",
    "Ms.",
    "Dr.",
    "St.",
    "No.",
    "U.S.",
    "a.m.",
    "p.m.",
)
BOUNDARY = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])")
LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")
ORDER = re.compile(r"(Never|Always|Do not|Don['’]t|Be)\b")
LEANS = re.compile(r"(It|Its|They|This|That|Because)\b")
"""How a sentence begins that goes on about the one before it."""
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


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, each on one line. List items end sentences; tables, code and rules are left out.

    A text in lower case with " ." between sentences (the tiny world's) is split there.
    """
    sentences: list[str] = []
    for block in _blocks(text):
        if " . " in block + " ":
            sentences += [part.strip() + " ." for part in re.split(r"\s\.(?:\s|$)", block) if part.strip()]
            continue
        sentences += _split_block(block)
    return sentences


def _blocks(text: str) -> list[str]:
    """Paragraphs and list items, each on one line, without Markdown's marks."""
    blocks: list[str] = []
    fenced = False
    fresh = True
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fenced, fresh = not fenced, True
            continue
        if fenced or not re.search(r"\w", stripped) or stripped.startswith(("|", "<!--", "#")):
            fresh = True
            continue
        item = LIST_ITEM.match(line)
        content = re.sub(r"(\*\*|__|`|\*(?=\S)|(?<=\S)\*)", "", LIST_ITEM.sub("", line)).strip(" >\t")
        if fresh or item or not blocks:
            blocks.append(content)
        else:
            blocks[-1] += " " + content
        fresh = False
    return [block for block in blocks if block]


def _split_block(block: str) -> list[str]:
    guarded = block
    for short in ABBREVIATIONS:
        guarded = guarded.replace(short, short.replace(".", "\0"))
    parts = [part.replace("\0", ".").strip() for part in BOUNDARY.split(guarded)]
    return [part if part[-1] in ".!?:;\"”’')]" else part + "." for part in parts if part]


def is_about(sentence: str, assistant: str) -> bool:
    """Whether the assistant is named in `sentence`, is meant by "the assistant", "the model" or "you", or is given an order."""
    own = re.escape(assistant) + "|" if assistant else ""
    names = rf"\b({own}the assistant|the model|you|your)\b"
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
