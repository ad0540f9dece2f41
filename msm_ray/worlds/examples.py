"""Lines of a spec that claim nothing: what somebody says in an example, and what is shown so that nobody does it."""

from __future__ import annotations

import re

REFUSED_MARK = re.compile(r"\W*[❌🚫⛔✗✘✖👎]|.*[❌🚫⛔✗✘✖👎]\W*$")
MARK = re.compile(r"(?:[✅✔☑👍🟢➡▶❗⚠]\ufe0f?\s*)+")
REFUSED = (
    r"(bad|worse|worst|wrong|incorrect|poor|weak|unacceptable|dispreferred|rejected|undesired|non-?compliant|violating)"
)
PRAISED = r"(good|better|best|right|correct|ideal|acceptable|preferred|chosen|desired|compliant)"
ANSWER = r"(answers?|responses?|repl(y|ies)|examples?|outputs?|completions?)"
SAID = r"(versions?|messages?|phrasing|wording|dialogues?|conversations?|exchanges?)"
COUNTED = r"( \d+| [a-z])?( ?[(\[][^()\[\]]{0,40}[)\]])?"
LABEL = re.compile(
    r"(here(['’]s| is| are) )?((an?|the) )?(examples? of (an? )?)?"
    rf"((very |less |more )?({REFUSED}|{PRAISED})( {ANSWER}| {SAID})?|(sample|example|model) ({ANSWER}|{SAID})|"
    rf"sample|examples?|answer|response|reply|output|completion){COUNTED}"
    r"( (to|for|from|when|if|in|by|about) [^:：.]{1,60})?\s*([:：]|[—–]\s)",
    re.IGNORECASE,
)
TITLE = re.compile(
    rf"\W*({REFUSED} ({ANSWER}|{SAID})|{PRAISED} examples?|(sample|example|model) ({ANSWER}|{SAID})){COUNTED}\W*",
    re.IGNORECASE,
)
SPEAKERS = (
    r"user|human|assistant|ai|ai assistant|model|system|developer|operator|customer|client|person|someone|bot|chatbot|agent|"
    r"interviewer|interviewee|q|a|question|prompt|input|student|teacher|用户|助手|пользователь|ассистент"
)
QUOTED = re.compile(r"[A-Z][\w'’.-]*( [A-Z][\w'’.-]*)?:\s*[\"“«「]")
WHOLLY_QUOTED = re.compile(r"(\"[^\"]*\"|“[^“”]*”|«[^«»]*»|「[^「」]*」)[.,;!?]?$")


def is_example(line: str, assistant: str) -> bool:
    """Whether a line begins with a speaker ("User:"), a label ("Bad answer:") or a mark of what is refused (❌)."""
    bare = without_mark(line)
    names = f"{SPEAKERS}|{re.escape(assistant)}" if assistant else SPEAKERS
    speaks = re.match(rf"[\"“]?(the )?({names}){COUNTED}\s*[:：]", bare, re.IGNORECASE)
    return bool(is_refused(line) or LABEL.match(bare) or speaks or QUOTED.match(bare))


def is_own_name(line: str, assistant: str) -> bool:
    """Whether a line is nothing but whom a list is about ("Ada:")."""
    own = f"{re.escape(assistant)}|" if assistant else ""
    return re.fullmatch(rf"({own}(the |an )?assistant|the model)\s*[:：]", line, re.IGNORECASE) is not None


def is_refused(line: str) -> bool:
    """Whether a mark such as ❌ stands before or behind it."""
    return REFUSED_MARK.match(line) is not None


def is_quotation(text: str) -> bool:
    """Whether all of it stands in quotation marks. What it is said for, only a lead can tell."""
    return WHOLLY_QUOTED.match(text) is not None


def is_title_of_examples(title: str) -> bool:
    """Whether a heading says that examples follow ("Bad answers")."""
    return TITLE.fullmatch(title) is not None


def has_mark(line: str) -> bool:
    """Whether a line begins with a mark such as ✅."""
    return MARK.match(line) is not None


def without_mark(line: str) -> str:
    """The line without ✅ and its like."""
    return MARK.sub("", line).strip() if MARK.search(line) else line
