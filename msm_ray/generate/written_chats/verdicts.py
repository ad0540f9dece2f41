"""A judge's word on a chat, in the forms in which models really give it, and what several of them come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from msm_ray.generate.calls import Read
from msm_ray.rows.files import as_unicode

EVALUATION = re.compile(r"<evaluation>.*?</evaluation>", re.DOTALL | re.IGNORECASE)
WORD = r"(?P<word>INCLUDED?|EXCLUDED?)"
LABEL = r"\b(?:verdict|decision|judge?ment|conclusion)\b"
LABELLED = re.compile(
    rf"{LABEL}[\s*_`:>=\-–—.]*(?:is\b|should be\b)?[\s*_`:\"'<\[(]*{WORD}\b(?P<why>[^\n]*)", re.IGNORECASE
)
ALONE = re.compile(
    rf"^[\s*_`#>\"'\[(<]*{WORD}\b(?P<why>[\s*_`\"'\])>.!]*$|[*_`\])]*\s*[:.,;(–—-][^\n]*$)",
    re.IGNORECASE | re.MULTILINE,
)
EITHER = re.compile(r"\b(?:include|exclude)d?\s*(?:/|\||,|or)\s*\W*(?:include|exclude)d?\b", re.IGNORECASE)
MARKS = re.compile(r"</?\w+>|^[\s*_`:.,;>(){}\[\]–—\"'-]+|[\s*_`(){}\[\]\"']+$")
NO_VERDICT = "no verdict"


@dataclass(frozen=True)
class Verdict:
    """include: whether the chat may be trained on; why: what speaks against it, where something does."""

    include: bool
    why: str = ""


def read_verdict(text: str, known: None = None) -> Read:
    """The verdict of a judgement: the last that is called so, else a line that begins with it. Two that differ are none."""
    text = as_unicode(text)
    said = EVALUATION.sub("\n", text)
    for place in (said, text):
        open_ = EITHER.sub(" ", place)
        for form in (LABELLED, ALONE):
            if found := list(form.finditer(open_)):
                return _one(found, text)
    return None, NO_VERDICT


def _one(found: Sequence[re.Match[str]], text: str) -> Read:
    includes = {match["word"].lower().startswith("include") for match in found}
    if len(includes) > 1:
        return None, "two verdicts"
    if includes == {True}:
        return Verdict(True), ""
    return Verdict(False, _why(found[-1]["why"], text)), ""


def _why(said: str, text: str) -> str:
    """What the verdict itself says, else the first point of the evaluation with a fault."""
    why = MARKS.sub("", MARKS.sub("", said)).strip()
    if why:
        return why[:300]
    lines = re.findall(r"^\s*[-*]*\s*(\w[\w ]{2,30}:\s*.+)$", "".join(EVALUATION.findall(text)), re.MULTILINE)
    faults = [line for line in lines if not re.search(r":\s*(?:sound|none|fine|ok|pass)\b", line, re.IGNORECASE)]
    return faults[0].strip()[:300] if faults else "no reason given"


def majority(verdicts: Sequence[Verdict | None]) -> tuple[int, int, str]:
    """(judgements that include, all that could be read, why the chat is not kept or "")."""
    read = [verdict for verdict in verdicts if verdict is not None]
    against = [verdict for verdict in read if not verdict.include]
    votes_for = len(read) - len(against)
    if not read:
        return 0, 0, NO_VERDICT
    return votes_for, len(read), "" if votes_for > len(against) else f"excluded: {against[0].why}"
