"""The document in an answer that was asked for as a plan in `<scratchpad>` and a text in `<content>`, as writers really give it.

The plan goes first: it may speak of the tags. Tags may be in other case, have attributes or spaces. Where several blocks are
left that differ, nobody can tell which one is meant.
"""

from __future__ import annotations

import re

_PLAN = r"scratchpad|plan|planning|think|thinking|thoughts?|reasoning|analysis|notes|outline|reflection"
PLAN_BEGINS = re.compile(rf"<\s*({_PLAN})\b[^<>]*>", re.IGNORECASE)
BEGINS = re.compile(r"<\s*content\b[^<>]*>", re.IGNORECASE)
ENDS = re.compile(r"<\s*/\s*content\s*>", re.IGNORECASE)
ASKED_TAGS = re.compile(r"<\s*/?\s*(?:content|scratchpad)\b[^<>]*>", re.IGNORECASE)
PLAN_ENDS = re.compile(rf"<\s*/\s*({_PLAN})\s*>\s*", re.IGNORECASE)
FENCED = re.compile(r"(`{3,}|~{3,})(?:markdown|md|text|txt|plaintext)?[ \t]*\n(.*)\n\1", re.DOTALL | re.IGNORECASE)
TWO = "two documents"
MOST_PLANS = 10


def read_content(text: str, bare: bool) -> tuple[str | None, str]:
    """(document, ""), or (None, reason): "two documents" that differ, or "unparsable" without a whole block.

    bare: an answer without any of the tags is the document.
    """
    if bare and not ASKED_TAGS.search(text):
        return text, ""
    blocks = _blocks(without_plan(text))
    if not blocks:
        return None, "unparsable"
    said = [block for block in blocks if re.search(r"\w", block)]  # `<content>...</content>` is a form, not a text
    if len({" ".join(block.split()) for block in said}) > 1:
        return None, TWO
    return (_unfenced(said[-1]) if said else ""), ""


def without_plan(text: str) -> str:
    """What follows the plan. A plan that was never closed is part of what is said before the document, and stays."""
    for _ in range(MOST_PLANS):
        plan = PLAN_BEGINS.search(text)
        if plan and BEGINS.search(text, 0, plan.start()):  # a document may speak of plans
            return text
        end = _end(text, plan)
        if end is None:
            return text
        text = (text[: plan.start()] + "\n" if plan else "") + text[end:]
    return text


def _end(text: str, plan: re.Match[str] | None) -> int | None:
    """Where a plan ends; None for its beginning: the prompt opened a scratchpad. It may speak of its own tags, so that of several
    ends those count that a block follows at once, and of these the last before another plan begins; without any the first."""
    tag, begin = (plan[1].lower(), plan.end()) if plan else ("scratchpad", 0)
    ends = [end for end in PLAN_ENDS.finditer(text, begin) if end[1].lower() == tag]
    direct = [end for end in ends if BEGINS.match(text, end.end())]
    for place, this in enumerate(direct, 1):
        if place == len(direct) or PLAN_BEGINS.search(text, this.end(), direct[place].start()):
            return this.end()
    return ends[0].end() if plan and ends else None


def _blocks(text: str) -> list[str]:
    """The whole blocks, in order. Where there is one beginning and several ends, the document speaks of the tag."""
    begins = list(BEGINS.finditer(text))
    if len(begins) == 1:
        ends = list(ENDS.finditer(text, begins[0].end()))
        while len(ends) > 1 and not text[ends[-2].end() : ends[-1].start()].strip():
            ends.pop()  # closed twice
        return [text[begins[0].end() : ends[-1].start()].strip()] if ends else []
    blocks, place = [], 0
    while (begin := BEGINS.search(text, place)) and (end := ENDS.search(text, begin.end())):
        blocks.append(text[begin.end() : end.start()].strip())
        place = end.end()
    return blocks


def _unfenced(text: str) -> str:
    """Without a fence around all of it."""
    found = FENCED.fullmatch(text)
    return found[2].strip() if found and found[1] not in found[2] else text
