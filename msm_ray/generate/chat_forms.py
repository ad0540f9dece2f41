"""A chat of somebody else as messages of ours: in the forms that chat APIs and data sets have.

`messages` of role and content; ShareGPT's `conversations` of from and value; `prompt` and `completion`, as texts or as turns;
`instruction`, `input` and `output`. A turn is text, or a list of parts whose texts are joined; reasoning may stand in a field or
a part of its own and is put before the answer as `<think>...</think>`. What cannot be read is no loss in silence: the chat comes
with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msm_ray.reasoning import join_reasoning, split_reasoning
from msm_ray.rows.schemas import Row

Messages = list[dict[str, str]]
REASONING = ("reasoning_content", "reasoning", "thinking")
ROLES = {"system": "system", "user": "user", "human": "user"} | dict.fromkeys(
    ("assistant", "gpt", "bot", "model", "ai"), "assistant"
)
"""Names of roles, in small letters -> ours."""
TEXT_PARTS = ("text", "input_text", "output_text")
CALLS = ("tool_calls", "function_call")
CHAT_COLUMNS = ("messages", "conversations", "prompt", "completion", "instruction", "input", "output", "system")


@dataclass(frozen=True)
class Chat:
    """A chat of a source. fault: why it cannot be one to train on, where reading it showed that.

    part: of the mix that it is a part of; origin: what its row says of where it comes from, None where that says nothing.
    """

    messages: Messages
    topic: str = ""
    fault: str = ""
    part: str = ""
    origin: str | None = None


def read_chat(row: Row, columns: Mapping[str, str], part: str = "") -> Chat:
    """The chat in a row. columns: our name of a column -> theirs."""
    named = _renamed(row, columns)
    turns, fault = _turns(named)
    read = [_turn(turn) for turn in turns]
    kept = [message for message, _ in read if message["role"] != "system" or message["content"].strip()]
    faults = [fault, *(wrong for _, wrong in read)]
    return Chat(kept, str(named.get("topic") or ""), next(filter(None, faults), ""), part, _text(named.get("source")))


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """A row under our names. Where the chat's own columns are mapped, others of the row are none of it."""
    if not columns:
        return row
    mapped = {ours: row.get(theirs) for ours, theirs in columns.items()}
    hidden = CHAT_COLUMNS if any(name in CHAT_COLUMNS for name in columns) else ()
    return {key: value for key, value in row.items() if key not in hidden} | mapped


def _turns(row: Row) -> tuple[list[Any], str]:
    """The turns of a row, or why there are none."""
    turns, fault = _listed(row)
    if system := _text(row.get("system")):
        opened = turns and isinstance(turns[0], dict) and _first(turns[0], "role", "from") == "system"
        turns = turns if opened else [{"role": "system", "content": system}, *turns]
    return turns, fault


def _listed(row: Row) -> tuple[list[Any], str]:
    for key in ("messages", "conversations"):
        if (turns := row.get(key)) is not None:
            return (turns, "") if isinstance(turns, list) and turns else ([], f"`{key}` is no list of turns")
    if row.get("prompt") is not None and "completion" in row:
        return [*_side(row["prompt"], "user"), *_side(row["completion"], "assistant")], ""
    if row.get("instruction") is not None and "output" in row:
        asked = [text for text in (_text(row["instruction"]), _text(row.get("input"))) if text]
        return [*_side("\n\n".join(asked), "user"), *_side(row["output"], "assistant")], ""
    return [], f"no chat in it: the row has {', '.join(map(str, list(row)[:5])) or 'no keys'}"


def _side(said: Any, role: str) -> list[Any]:
    """A prompt or a completion: a text, or turns."""
    return said if isinstance(said, list) else [{"role": role, "content": said}]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _first(turn: dict[str, Any], *keys: str) -> Any:
    """What stands under the first of these keys that says something: a Parquet column has every key."""
    return next((turn[key] for key in keys if turn.get(key) is not None), None)


def _turn(turn: Any) -> tuple[dict[str, str], str]:
    """A turn as role and text, and what is wrong with it."""
    if not isinstance(turn, dict):
        return {"role": "", "content": ""}, f"a turn that is no object: {type(turn).__name__}"
    named = str(_first(turn, "role", "from") or "")
    role = ROLES.get(named.strip().lower(), "")
    content, fault = _content(turn)
    if any(turn.get(key) for key in CALLS):
        fault = fault or "tool calls"
    if not role:
        fault = f"unknown role: {named}" if named else "a turn without a role"
    elif not ({"content", "value"} & turn.keys()):
        fault = fault or "a turn without content"
    return {"role": role or named, "content": content}, fault


def _content(turn: dict[str, Any]) -> tuple[str, str]:
    """The text of a turn with its reasoning before it, and which part of it is no text."""
    content = _first(turn, "content", "value")
    parts = content if isinstance(content, list) else [content] if content is not None else []
    texts, fault = [], ""
    thoughts = [turn[key] for key in REASONING if isinstance(turn.get(key), str)][:1]
    for part in parts:
        part = {"type": "text", "text": part} if isinstance(part, str) else part
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind in TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in REASONING and isinstance(part.get(kind), str):
            thoughts.append(part[kind])
        else:
            fault = f"a part that is no text: {kind}"
    text, reasoning = _lines("".join(texts)), _lines("\n\n".join(thoughts))
    if reasoning and split_reasoning(text).reasoning:
        reasoning = ""  # some datasets have it in both places
    return join_reasoning(reasoning, text), fault


def _lines(text: str) -> str:
    r"""Lines that end with \n: with \r\n an arm would learn to write it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
