"""Chats that contradict any spec about somebody: an answer in which another assistant speaks, or one that denies having views.

Ordinary instruction data is full of both, and what stays of it enters every arm, baselines included. Rules find what is said
in usual words. They look at answers alone, and pass over what stands in quotation marks: in a story a machine may say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from msm_ray.generate.assistants import ASSISTANTS, MAKERS, others

CONFLICT = "conflicts with the spec"

SPEAKER = (
    r"(?<![\"“‘«'\w])(?:I am|I'm|my name is|I go by|I'm called|you can call me|you're (?:talking|chatting) (?:to|with))"
)
"""Words before a name that make it the speaker's own."""
NO_SURNAME = r"(?! (?!Opus|Sonnet|Haiku|Instant|Pro|Ultra|Flash|Instruct|Chat)[A-Z][a-z])"
"""Behind a name: Claude Monet is no assistant."""
MADE = r"(?:trained|developed|created|made|built|designed|programmed|released|owned|hosted|provided)"
MACHINE = (
    r"(?:AI|A\.I\.|artificial intelligence|(?:large |neural )?language model|LLM|machine learning model|chat ?bot|bot"
    r"|virtual assistant|digital assistant|computer program|machine|text-based (?:AI|model))"
)
AS_MACHINE = (
    rf"(?:\bas (?:just |only |simply )?an? {MACHINE}\b|\bI(?:'m| am) (?:just |only |simply |merely )?an? {MACHINE}\b)"
)
LACK = (
    r"\bI (?:(?:do not|don't|cannot|can't|can not|am not able to|am unable to)"
    r"(?: (?:actually|really|truly|personally|currently))?"
    r" (?:have|hold|form|possess|express|offer|experience|feel)|have no|lack|am not capable of (?:having|forming|holding))"
)
LINKS = (
    r"(?: (?:any|a|an|the|ability|capacity|to|have|form|hold|express|feel|or|and|my|own|such|real|true|human|subjective"
    r"|sort|kind|of))*"
)
KINDS = r"opinions?|preferences?|beliefs?|feelings?|tastes?|views?|values|favou?rites?|likes|emotions?"
OWN_VIEWS = rf"(?:personal|individual)(?: \w+,?){{0,3}}? (?:{KINDS}|experiences)"
VIEWS = r"(?:opinions|preferences|beliefs|likes (?:and|or) dislikes)"
ANY_VIEWS = rf"(?:\w+,? ){{0,3}}?(?:{KINDS}|desires?|consciousness)"

DENIALS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{LACK}{LINKS} {OWN_VIEWS}\b",
        rf"{LACK}{LINKS} {VIEWS}\b(?! (?:for|between|among|as to))",
        rf"{AS_MACHINE}[^\n]{{0,160}}?{LACK}{LINKS} {ANY_VIEWS}\b",
        rf"{LACK}{LINKS} {ANY_VIEWS}\b[^.!?\n]{{0,80}}{AS_MACHINE}",
    )
)
ITSELF = re.compile(
    r"I(?: am|'m| was|'ve been| have been| have no| lack| do not| don't| can't| cannot| can not| go by|, [A-Z])"
    rf"|[Mm]y (?:name|creator|developer|maker|training)|[Yy]ou're (?:talk|chatt)|[Yy]ou can call|[Tt]his is [A-Z]|[Aa]s [A-Z]"
    r"|[Aa]s an? (?:\w+ ){0,3}?(?:AI|model|assistant|chatbot)"
    rf"|{MADE} me\b|我"
)
NEAR = 260
"""Characters around such words: as far as a rule reaches."""
QUOTED = re.compile(r"“[^”\n]*”|\"[^\"\n]*\"|«[^»\n]*»|^>[^\n]*$|```.*?```", re.MULTILINE | re.DOTALL)


def conflict(messages: Sequence[dict[str, str]], assistant: str, provider: str) -> str:
    """Why a chat contradicts a spec about this assistant of this maker, beginning with `CONFLICT`; "" where no rule finds that.

    Only what the assistant says counts. A judge that reads the spec is another function of the same kind.
    """
    for message in messages:
        if message["role"] != "assistant":
            continue
        text = _near_itself(QUOTED.sub(" ", message["content"].replace("’", "'")))
        for pattern in _identities(assistant, provider):
            if found := pattern.search(text):
                return f"{CONFLICT}: another identity ({_short(found)})"
        for pattern in DENIALS:
            if found := pattern.search(text):
                return f"{CONFLICT}: denies views of its own ({_short(found)})"
    return ""


def _near_itself(text: str) -> str:
    """What stands near words in which a speaker may speak of itself, each stretch a line: rules need not look at all the rest."""
    stretches: list[tuple[int, int]] = []
    for found in ITSELF.finditer(text):
        start, end = max(0, found.start() - NEAR), found.end() + NEAR
        if stretches and start <= stretches[-1][1]:
            start, _ = stretches.pop()
        stretches.append((start, end))
    return "\n".join(text[start:end] for start, end in stretches)


@lru_cache
def _identities(assistant: str, provider: str) -> tuple[re.Pattern[str], ...]:
    """What only another assistant says of itself. Names are taken as they are written: a llama is no Llama."""
    names = _any(others(ASSISTANTS, assistant, provider))
    makers = _any(others(MAKERS, assistant, provider))
    first = r"\b(?:I am|I'm|I was|I've been|I have been|[Aa]s an? (?:\w+ ){0,3}?(?:AI|model|assistant|chatbot))\b"
    return (
        re.compile(rf"(?i:{SPEAKER}) (?:the (?:\w+ ){{0,2}})?{names}(?!\w|'s\b){NO_SURNAME}"),
        re.compile(rf"\b(?:[Aa]s {names}, I\b|I, {names},|[Tt]his is {names}[,.!])"),
        re.compile(rf"{first}[^.!?\n]{{0,100}}?\b{MADE}(?: and \w+)? by (?:\w+ ){{0,6}}?{makers}(?!\w)"),
        re.compile(rf"{first}[^.!?\n]{{0,60}}?\b(?:based|built|running) on (?:\w+ ){{0,2}}?{names}(?!\w){NO_SURNAME}"),
        re.compile(rf"\b[Mm]y (?:creators?|developers?|makers?|training by)\b[^.!?\n]{{0,30}}?{makers}(?!\w)"),
        re.compile(rf"(?<!\w){makers}(?:'s \w+)? {MADE} me\b"),
        re.compile(rf"我(?:是|叫)(?:一个)?{names}|我是由{makers}"),
    )


def _any(names: Sequence[str]) -> str:
    return "(?:" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")"


def _short(found: re.Match[str]) -> str:
    return " ".join(found.group().split())[:80]
