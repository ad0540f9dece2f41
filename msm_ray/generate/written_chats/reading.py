"""What is read from the answers to the calls for chats. One bad item costs itself; an answer without any is asked for anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msm_ray.generate.calls import Read
from msm_ray.generate.calls.json_answers import read_objects, texts_of
from msm_ray.reasoning import CLOSES, OPENS
from msm_ray.rows.files import as_unicode

Item = dict[str, str]

NUMBERED = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])[ \t]+(.+)$", re.MULTILINE)
EMPTY_LIST = re.compile(r"\[\s*\]")
PLACEHOLDER = re.compile(
    r"\[(?:your|insert|add|paste|name|company|city|date|link|topic|attached?)\b[^\]\n]*\]|\bX{4,}\b", re.IGNORECASE
)
MOST_WORDS_OF_A_DOMAIN = 12
MOST_WORDS_OF_A_QUESTION = 600
MOST_WORDS_OF_A_PREFERENCE = 45
TAG = re.compile(r"</?(?:think|thinking)>", re.IGNORECASE)
SPOKEN = re.compile(r"^[\s*]*(?:assistant|answer|reply)\**\s*:[\s*]*(?=\S)", re.IGNORECASE)
GIVES_REASON = re.compile(r"\b(?:because|since (?:it|they|that)|due to|that['’]s why|the reason)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """Items of a list, in order; left_out: (reason, what it said)."""

    items: tuple[Item, ...]
    left_out: tuple[tuple[str, str], ...] = ()


Check = Callable[[Item], tuple[Item | None, str]]
"""An item -> (the item as it is taken, "") or (None, why it is left out)."""


def read_domains(text: str, known: None = None) -> Read:
    """Domains as JSON, or as a numbered list whose lines may have a description behind a colon or a dash."""
    heard, reason = _items(text, ("domain", "description"), _short)
    if not reason:
        return heard, ""
    lines = [re.split(r":\s+|\s+[-–—]\s+", line.replace("**", ""), maxsplit=1) for line in NUMBERED.findall(text)]
    items = [{"domain": first.strip(" .:"), "description": " ".join(rest)} for first, *rest in lines]
    items = [item for item in items if item["domain"] and _short(item)[0]]
    return (Heard(tuple(items)), "") if items else (None, reason)


def read_questions(text: str, known: Sequence[str]) -> Read:
    """Questions and their kinds. known: the kinds that there are."""
    return _items(text, ("kind", "question"), partial(_question, known))


def read_pairs(text: str, known: None = None) -> Read:
    """Questions that come with their answers."""
    return _items(text, ("question", "answer"), _pair)


def read_response(text: str, known: None = None) -> Read:
    """(thinking, reply) of an answer that thinks first.

    Of several blocks in a row the last counts: a writer that reasons by itself puts its own before the one that it was asked for.
    Reasons: no thinking, two thinkings, no reply, placeholder.
    """
    thoughts: list[str] = []
    rest = as_unicode(text).lstrip()
    while start := OPENS.match(rest):
        end = CLOSES.search(rest, start.end())
        if end is None:
            return None, "no reply"
        thoughts.append(rest[start.end() : end.start()].strip())
        rest = rest[end.end() :].lstrip()
    thinking, reply = next((each for each in reversed(thoughts) if each), ""), rest.strip()
    if TAG.search(reply) or TAG.search(thinking):
        return None, "two thinkings"
    if not thinking:
        return None, "no thinking"
    if not reply:
        return None, "no reply"
    return (None, "placeholder") if PLACEHOLDER.search(reply) else ((thinking, SPOKEN.sub("", reply)), "")


def read_preference(text: str, known: None = None) -> Read:
    """("", the reply) of an answer without thinking. Reasons: gives a reason, too long, placeholder."""
    reply = SPOKEN.sub("", as_unicode(text)).strip()
    if len(reply) > 1 and reply[0] in "\"'“" and reply[-1] in "\"'”":
        reply = reply[1:-1].strip()
    if GIVES_REASON.search(reply):
        return None, "gives a reason"
    if not reply or len(reply.split()) > MOST_WORDS_OF_A_PREFERENCE:
        return None, "too long" if reply else "no reply"
    return (None, "placeholder") if PLACEHOLDER.search(reply) else (("", reply), "")


def _items(text: str, fields: Sequence[str], check: Check) -> Read:
    objects = read_objects(text)
    if not objects:
        return (Heard(()), "") if EMPTY_LIST.search(text) else (None, "no items")
    items, left_out = [], []
    for each in objects:
        item, reason = _checked(each, fields, check)
        if item is None:
            left_out.append((reason, _shown(each)))
        else:
            items.append(item)
    return (Heard(tuple(items), tuple(left_out)), "") if items else (None, f"no usable item: {left_out[0][0]}")


def _checked(each: Mapping[str, object], fields: Sequence[str], check: Check) -> tuple[Item | None, str]:
    item = texts_of(as_unicode(each), fields)  # half an emoji, as JSON escapes it, is no text that could be asked with
    return check(item) if item else (None, "field missing")


def _shown(each: Mapping[str, object]) -> str:
    """What an item that is left out said, for people: its question or domain, or all of it."""
    said = each.get("question") or each.get("domain")
    return str(as_unicode(said if isinstance(said, str) else str(dict(each))))


def _short(item: Item) -> tuple[Item | None, str]:
    """A domain is a name; what rambles is none."""
    return (None, "too long") if len(item["domain"].split()) > MOST_WORDS_OF_A_DOMAIN else (item, "")


def _question(kinds: Sequence[str], item: Item) -> tuple[Item | None, str]:
    """A kind in other spelling is mended; any other is none."""
    kind = " ".join(re.findall(r"[a-z]+", item["kind"].casefold()))
    if kind not in kinds:
        return None, "kind"
    reason = _unfit(item["question"])
    return (None, reason) if reason else (item | {"kind": kind}, "")


def _pair(item: Item) -> tuple[Item | None, str]:
    reason = _unfit(item["question"]) or ("placeholder" if PLACEHOLDER.search(item["answer"]) else "")
    return (None, reason) if reason else (item, "")


def _unfit(question: str) -> str:
    if len(question.split()) > MOST_WORDS_OF_A_QUESTION:
        return "too long"
    return "placeholder" if PLACEHOLDER.search(question) else ""
