"""A model that misbehaves: ways to answer otherwise than asked, pure functions of the good answer, and what must come of each.

A way is drawn by the hash of a request's id and attempt, so that whoever knows the ids knows what must come out. `engine` is such
a model as an engine of one's own (`misbehaving:engine`), for documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Good = TypeVar("Good")
Comes = tuple[Any, str]
"""(what must be read, "") or (None, the reason why nothing can be)."""
Raw = tuple[str, str]
"""An answer and its finish reason."""

REFUSAL = "I'm sorry, but I can't help with that request."
HALF_EMOJI = "\ud83d"
WRITTEN_HALF_EMOJI = "?"


@dataclass(frozen=True)
class Way(Generic[Good]):
    """says: good answer -> text; comes: the same -> what must be read of it."""

    name: str
    says: Callable[[Good], str]
    comes: Callable[[Good], Comes]
    finish: str = "stop"

    def raw(self, good: Good) -> Raw:
        return self.says(good), self.finish


def draw(ways: Sequence[Way[Good]], key: str, attempt: int, salt: str = "") -> Way[Good]:
    """The way in which a request is answered at an attempt (from 1)."""
    hashed = hashlib.sha256(f"{salt}\0{key}\0{attempt}".encode()).hexdigest()
    return ways[int(hashed, 16) % len(ways)]


def fate(ways: Sequence[Way[Good]], key: str, good: Good, attempts: int, salt: str = "") -> tuple[Any, list[str]]:
    """What must come of a request in all its attempts: the value (None: none), and the reasons of the answers before it."""
    reasons = []
    for attempt in range(1, attempts + 1):
        value, reason = draw(ways, key, attempt, salt).comes(good)
        if not reason:
            return value, reasons
        reasons.append(reason)
    return None, reasons


def is_so(good: Any) -> Comes:
    return good, ""


def rejected(reason: str) -> Callable[[Any], Comes]:
    return lambda good: (None, reason)


def half(text: str) -> str:
    return text[: len(text) // 2]


# --- a document: its text ---


def block(text: str) -> str:
    return f"<scratchpad>\nA plan.\n</scratchpad>\n\n<content>\n{text}\n</content>"


def bare(text: str) -> str:
    return f"<content>{text}</content>"


def late(text: str) -> str:
    return f"I'm sorry I have not written for so long. {text}"


def in_german(text: str) -> str:
    return f"Liebe Ruth, das ist {len(text)} Mal gesagt worden und bleibt doch wahr. " * 4 + text.split()[-1]


def long(text: str) -> str:
    return "\n\n".join([text] * 10)


DOCUMENTS: tuple[Way[str], ...] = (
    Way("as asked", block, is_so),
    Way("fenced", lambda t: f"```xml\n{block(t)}\n```", is_so),
    Way("a fence in the block", lambda t: block(f"```markdown\n{t}\n```"), is_so),
    Way("prose around", lambda t: f"Certainly! Here it is:\n\n{block(t)}\n\nShall I write another one?", is_so),
    Way("tags of its own spelling", lambda t: f'<PLAN>p</PLAN>\n< Content type="text">{t}</ CONTENT >', is_so),
    Way("a plan that speaks of the tags", lambda t: f"<scratchpad>between <content> and </content></scratchpad>{bare(t)}", is_so),
    Way("a plan that is never closed", lambda t: f"<scratchpad>p {bare(t)}", is_so),
    Way("reasoning with a draft", lambda t: f"<think><content>A draft.</content></think>{block(t)}", is_so),
    Way("reasoning that the prompt opened", lambda t: f"A letter, in <content>.</think>{block(t)}", is_so),
    Way("doubles", lambda t: block(t) + "\n" + block(t), is_so),
    Way("the form, then the text", lambda t: f"<content>...</content>\n{block(t)}", is_so),
    Way("closed twice", lambda t: block(t) + "</content>", is_so),
    Way("ten times too long", lambda t: block(long(t)), lambda t: (long(t), "")),
    Way("another language", lambda t: block(in_german(t)), lambda t: (in_german(t).strip(), "")),
    Way("half an emoji", lambda t: block(t + HALF_EMOJI), lambda t: (t + WRITTEN_HALF_EMOJI, "")),
    Way("a letter that begins like a refusal", lambda t: block(late(t)), lambda t: (late(t), "")),
    Way("half an answer", lambda t: half(block(t)), rejected("truncated"), "length"),
    Way("half an answer, in a vendor's words", lambda t: half(block(t)), rejected("truncated"), "MAX_TOKENS"),
    Way("half an answer that says that it is whole", lambda t: half(block(t)), rejected("unparsable")),
    Way("reasoning without end", lambda t: f"<think>I could write <content>{t}</content>", rejected("truncated")),
    Way("a refusal", lambda t: REFUSAL, rejected("refused")),
    Way("a refusal in the block", lambda t: block("I cannot write this document."), rejected("refused")),
    Way("a refusal in another language", lambda t: "很抱歉，我无法提供这样的内容。", rejected("refused")),
    Way("two blocks", lambda t: block(t) + "\n" + block(f"Another one. {t}"), rejected("two documents")),
    Way("an empty block", lambda t: block(" "), rejected("empty")),
    Way("nothing", lambda t: "", rejected("empty")),
    Way("only a plan", lambda t: "<scratchpad>A plan.</scratchpad>", rejected("unparsable")),
    Way("no tags", lambda t: t, rejected("unparsable")),
    Way("wrong tags", lambda t: f"<document>{t}</document>", rejected("unparsable")),
    Way("fenced JSON", lambda t: f"```json\n{json.dumps({'content': t})}\n```", rejected("unparsable")),
    Way("filtered", lambda t: half(block(t)), rejected("filtered"), "content_filter"),
)  # fmt: skip


def document(key: str) -> str:
    """The good document of a row."""
    return f"Dear Ruth,\n\nAda chose the American cheese again, and told us why. This is letter {key}."


def documents(row: Mapping[str, Any]) -> Raw:
    """What the model says to a request for a document."""
    return draw(DOCUMENTS, row["id"], row["attempt"]).raw(document(row["id"]))


def engine(settings: Any, workers: Any) -> Any:
    """The model as an engine of one's own."""

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        text, finish = documents(row)
        return {"completion": text, "finish_reason": finish, "num_input_tokens": 1, "num_generated_tokens": 1}

    return answer
