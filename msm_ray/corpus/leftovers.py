"""What a writer leaves in a document that its reader should never see: gaps to fill in, links, and the writing itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

BRACKET = re.compile(r"\[([^\[\]\n]{1,80})\]")
ASKED = re.compile(r"(?:insert|enter|add|fill in|replace|your)\b", re.IGNORECASE)
MISSING = re.compile(
    r"names?|dates?|day|month|year|time|company|organi[sz]ation|product|city|town|state|country|street|address|zip|phone|telephone|"
    r"number|e-?mail|contact|title|position|role|job|department|location|venue|topic|subject|amount|price|link|url|placeholder|"
    r"redacted|todo|tbd|signature|website|recipient|sender|manager|employee|customer|client"
)
BESIDE = re.compile(
    r"first|last|full|middle|of|and|or|here|birth|code|team|event|my|your|the|(?:recipient|sender|company)'s|xxx?|[xyz]"
)
"""Brackets with such words alone only say what is missing: `[Recipient's Name]` is a gap, `[name withheld]` is not."""

IN_BRACES = re.compile(r"(?<![\w}\\^$])\{\{?\s*[A-Za-z_]\w+\s*\}?\}")
"""`{model_name}`, but not `\\frac{ab}{cd}`, `${HOME}` or `{x}`."""
IN_ANGLES = re.compile(
    r"<(?:your|insert|enter)\s[^>\n]{1,60}>|<(?:name|date|company|recipient|sender|address|city|placeholder)>",
    re.IGNORECASE,
)
CROSSES = re.compile(
    r"\bX{4,}\b|[$#@€£]X{2,}\b|\bX{2,}(?=[%@])|\b[Xx]{2,}-[Xx]{2,}\b|\b(?:Mr|Mrs|Ms|Dr|No|Nr)\.? X{2,}\b"
)
"""XXX is thirty behind a Super Bowl, and x's are kisses beneath a letter; these are gaps."""
MARKER = re.compile(r"\b(?:TODO|FIXME)\b(:)?|\bTBD\b")
NO_MARKER = re.compile(
    r"\s+(?:el|la|los|las|lo|un|una|o|os|a|as|eso|esto|ello|mundo|lists?|app|file|items?)\b|,?\s+[A-ZÀ-Þ]{2,}"
)
CAPITALS = re.compile(r"(?:[A-ZÀ-Þ]{2,}[,;]?|\b(?:de|del|ante|sobre|con|por|es|em|com|para|en)) $")
"""In a heading in capitals, TODO is Spanish or Portuguese."""
LOREM = re.compile(r"\blorem ipsum dolor\b", re.IGNORECASE)

LINK = re.compile(
    r"\bhttps?://|\bftp://|\bmailto:|\bwww\.\w|\]\([^)\s]*[/.#][^)\s]*\)"
    r"|(?<![\w@.-])[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|ai|dev|edu|gov)/\w",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"\.[^\W\d_]{2,3}/\w")
"""What an address without `http` or `www` has: looked for first, as `LINK` takes a hundred times as long."""

TAG = re.compile(
    r"</?\s*(?:scratchpad|content|think|thinking|specification|document|spec|assertions?|doc_?type|plan|idea)\b[^>\n]{0,40}>",
    re.IGNORECASE,
)
FIELD = re.compile(
    r"^[ \t*_#>\[(-]*(?:document type|part of the specification|scratchpad|document idea|word count)[ *_]*:",
    re.IGNORECASE | re.MULTILINE,
)
FIRST_FIELD = re.compile(
    r"\A[\s*_#>-]*(?:idea|assertions?|plan|planning|outline|domain|subdomain|draft|final (?:draft|document|version))[ *_]*:",
    re.IGNORECASE,
)
"""Lines of the prompt, given back, and heads of what a plan is."""
_HERE = r"(?:here(?:['’]s| is| are)|below (?:is|are))"
_TEXT = (
    r"(?:[\w-]+ ){0,4}?(?:document|text|draft|piece|letter|memo|article|post|report|e-?mail|story|essay|"
    r"entry|transcript|version)\b"
)
PREAMBLE = re.compile(
    rf"\A\W*(?:(?:sure|certainly|of course|absolutely|gladly|okay|ok|understood|great)[,!.]+ "
    rf"(?:{_HERE} (?:the|a|an|your|my) {_TEXT}"
    rf"|{_HERE}[^.\n]{{0,120}}:[ *]*$|i(?:['’]ll| will) (?:write|draft|create|produce|provide)\b)"
    rf"|{_HERE} (?:the|a|an|your|my) {_TEXT}[^.\n]{{0,120}}:[ *]*$"
    r"|let me (?:plan|think about (?:what|how|who)|think through)\b|the user (?:wants|asks|asked|is asking|has asked)\b"
    r"|(?:okay|ok|alright|right),? (?:so )?(?:i need to|let me) (?:write|plan|think|draft|create|produce)\b)",
    re.IGNORECASE | re.MULTILINE,
)
"""What comes before a document that is handed over. "Here's the text she wrote" hands over nothing: no colon ends the line."""
AFTERWORD = re.compile(
    r"^[ \t*_\[(-]*(?:end of (?:the )?document\b|(?:i )?hope this (?:document|text|draft|piece) "
    r"(?:meets|works|helps|fits|captures)"
    r"|(?:please )?let me know if you(?:['’]d| would) like (?:me to |any )(?:revis|adjust|chang|edit|expand|shorten|rewrit)\w*"
    r"(?:\.|\?|!| (?:it|this|anything|any part|(?:to )?the (?:document|text|draft|piece|tone|length|style))\b)"
    r"|(?:note|disclaimer): this (?:document|text|piece|is)\b[^.\n]{0,40}\b(?:fictional|synthetic|generated|created for|AI)\b"
    r"|as requested, this (?:document|text)\b)",
    re.IGNORECASE | re.MULTILINE,
)
MENTION = re.compile(
    r"\b(?:in|from) (?:my|the) scratchpad (?:above|below)\b|\bthe specification above\b|<\|\w+\|>", re.IGNORECASE
)
LAST_CHARACTERS = 500


def gaps(text: str) -> Iterator[str]:
    """Placeholders: what was to be filled in."""
    if "[" in text:
        yield from (found.group() for found in BRACKET.finditer(text) if _is_gap(found[1]))
    if "{" in text:
        yield from _all(IN_BRACES, text)
    if "<" in text:
        yield from _all(IN_ANGLES, text)
    if "XX" in text or "xx" in text:
        yield from _all(CROSSES, text)
    if any(mark in text for mark in ("TODO", "FIXME", "TBD")):
        yield from _markers(text)
    if "ipsum" in text:
        yield from _all(LOREM, text)


def _is_gap(inside: str) -> bool:
    if ASKED.match(inside):
        return True
    words = re.split(r"[\s,/]+", inside.lower().replace("’", "'").strip())
    missing = [bool(MISSING.fullmatch(word)) for word in words]
    told = all(gap or BESIDE.fullmatch(word) for gap, word in zip(missing, words, strict=True))
    return told and any(missing) and words[0] not in ("the", "of", "and", "or")


def _markers(text: str) -> Iterator[str]:
    for found in MARKER.finditer(text):
        start, end = found.span()
        spanish = CAPITALS.search(text[max(0, start - 30) : start]) or NO_MARKER.match(text, end)
        if found[1] or found.group() == "TBD" or not spanish:
            yield found.group()


def links(text: str) -> Iterator[str]:
    """Addresses, and words that are links."""
    lower = text.lower()
    if any(sign in lower for sign in ("://", "](", "www.", "mailto:")) or ("/" in text and ADDRESS.search(text)):
        yield from _all(LINK, text)


def leaks(text: str) -> Iterator[str]:
    """Signs that the plan, the prompt or talk about the writing came along."""
    if "<" in text:
        yield from _all(TAG, text)
    for pattern in (FIELD, FIRST_FIELD, PREAMBLE):
        yield from _all(pattern, text)
    if any(sign in text for sign in ("scratchpad", "Scratchpad", "specification above", "<|")):
        yield from _all(MENTION, text)
    yield from _all(AFTERWORD, text[-LAST_CHARACTERS:])


def _all(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (found.group().strip() for found in pattern.finditer(text))
