"""Where sentences end. English above all; other languages as far as their marks and capitals tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\S+", text))


NEVER_LAST = _words(
    "mr mrs ms mx dr prof rev hon gov gen maj capt lt sgt supt messrs mme mlle "
    "e.g i.e vs cf viz resp approx ca esp incl т.е т.к им ул"
)
"""What stands before more of the same sentence."""
BEFORE_NUMBERS = _words("no nos fig figs eq eqs vol vols p pp ed sec ch art nr")
MAYBE_LAST = _words(
    "etc a.m p.m u.s u.k u.n e.u d.c ph.d m.d b.a m.a b.sc m.sc inc ltd co corp bros esq st mt ft fr sr jr sen rep "
    "col pres al dept univ assn ave blvd jan feb mar apr jun jul aug sept sep oct nov dec т.д т.п г"
)
"""What may also stand at a sentence's end, and does where the next word begins one."""
BEGINS = _words(
    "A An The This That These Those It Its He She They We You I His Her Their Our Your My There Here If When While Where As At "
    "In On For From With Without By To And But Or So Yet Then Thus Because Since Although Though However What Who Why How "
    "Which Never Always Do Don't Be No Not Nor Some Any All Each Every Both Most Many Few One Once After Before Even Only "
    "Still Instead Asked Such"
)
NUMBERED = re.compile(
    r"(?:^|[.!?:]\s+)\W*((Rule|Principle|Section|Article|Step|Part|Point|§)\s*)?[A-Z]{0,2}\d+(\.\d+)*$", re.IGNORECASE
)
"""A number at the head of a sentence, "R1." or "Rule 4."."""
MARKS = re.compile(
    r"(?P<far>[.!?…‥]+)(?P<closed>[\"'”’»)\]*_]*)\s+(?=[\"'“‘«„(\[¿¡]*(?P<next>[^\W_]))"
    r"|(?P<near>[。！？｡．।॥։።؟۔]+[\"”’」』»）)]*)\s*(?=\S)"
)
ENDED = re.compile(r"[.!?…:;。！？｡．।॥։።؟۔：；][\"'”’」』»）)\]]*$")
FULL_WIDTH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
LAST_WORD = re.compile(r"(?:^|[\s\"'“‘«(\[—–/-])([^\W\d_][^\s\"'“‘«(\[—–/]*)$")


def cut_at_sentences(text: str) -> list[str]:
    """The sentences of one line of running text, each with its closing mark. What is quoted or in brackets is not cut."""
    pieces: list[str] = []
    open_at = 0
    for end, following in [*_ends(text), (len(text), len(text))]:
        if _is_whole(text[open_at:end]):
            pieces.append(text[open_at:end])
            open_at = following
        elif end == len(text):  # a mark that nothing closes opens nothing
            pieces += _cut_between(text, open_at)
    return [piece.strip() for piece in pieces if re.search(r"\w", piece)]


def _cut_between(text: str, start: int) -> Iterator[str]:
    for end, following in _ends(text):
        if end > start:
            yield text[start:end]
            start = following
    yield text[start:]


def _is_whole(piece: str) -> bool:
    """Whether every quotation mark and bracket in it is closed."""
    pairs = all(piece.count(opened) == piece.count(shut) for opened, shut in ("“”", "()", "«»", "「」"))
    return pairs and piece.count('"') % 2 == 0


def closed(sentence: str) -> str:
    """With a full stop where nothing ends it."""
    if ENDED.search(sentence):
        return sentence
    return sentence + ("。" if FULL_WIDTH.match(sentence[-1]) else ".")


def is_closed(text: str) -> bool:
    """Whether a text ends as a sentence does, and not as a title, a fragment or a lead (`:`)."""
    return ENDED.search(text) is not None and not is_lead(text)


def is_lead(text: str) -> bool:
    """Whether something has to follow."""
    return text.endswith((":", "："))


def _ends(text: str) -> Iterator[tuple[int, int]]:
    """(end of a sentence, start of the next)."""
    for mark in MARKS.finditer(text):
        if mark["near"] or not (mark["next"].islower() or _goes_on(text, mark)):
            yield mark.end("near") if mark["near"] else mark.end("closed"), mark.end()


def _goes_on(text: str, mark: re.Match[str]) -> bool:
    """Whether a full stop belongs to an abbreviation or an initial in the middle of a sentence."""
    before = text[: mark.start("far")]
    word = LAST_WORD.search(before)
    if mark["far"] != "." or NUMBERED.search(before):
        return mark["far"] == "."
    if word is None:
        return False
    short = word.group(1).lower()
    if short in BEFORE_NUMBERS:
        return mark["next"].isdigit()
    if short in NEVER_LAST:
        return True
    if short in MAYBE_LAST or re.fullmatch(r"[^\W\d_]|(?:[^\W\d_]\.)+[^\W\d_]", short):
        following = re.match(r"[\"'“‘«„(\[]*([\w’']+)", text[mark.end() :])
        return word.group(1) != "I" and not (following and following.group(1).replace("’", "'") in BEGINS)
    return False
