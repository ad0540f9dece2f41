"""Other people's chats: Parquet or JSONL with `messages`, in the forms that chat APIs and datasets have.

A turn is text, or a list of parts whose texts are joined; reasoning may stand in a field or a part of its own and is put before
the answer as `<think>...</think>`. A chat that holds what is no text is not lost in silence: it comes with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msm_ray.errors import SettingsError
from msm_ray.reasoning import join_reasoning, split_reasoning

Messages = list[dict[str, str]]
REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Chat:
    """A chat of a source. fault: why it cannot be one to train on, where reading it showed that."""

    messages: Messages
    topic: str = ""
    fault: str = ""


def read_chats(path: Path) -> list[Chat]:
    """The chats of a Parquet or JSONL file with a `messages` column. Raises SettingsError naming file and row."""
    if not path.is_file():
        raise SettingsError(f"Chats {path} does not exist. Set `path:` to a Parquet or JSONL file with `messages`.")
    try:
        rows = list(enumerate(_parquet(path), 1) if path.suffix == ".parquet" else _jsonl(path))
    except (OSError, ValueError) as error:
        raise SettingsError(f"Chats {path} cannot be read: {error}") from None
    if not rows:
        raise SettingsError(f"Chats {path} is empty.")
    return [_chat(row, f"{path}, row {number}") for number, row in rows]


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Lines end at \\n alone, with or without a byte order mark before the first."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: not valid JSON ({error.msg})") from None


def _chat(row: Any, where: str) -> Chat:
    try:
        turns = [_turn(message["role"], message["content"], message) for message in row["messages"]]
        topic = str(row.get("topic") or "")
    except (KeyError, TypeError, AttributeError):
        raise SettingsError(f"Chats {where}: no `messages` list of role and content.") from None
    kept = [message for message, _ in turns if message["role"] != "system" or message["content"]]
    return Chat(kept, topic, next((fault for _, fault in turns if fault), ""))


def _turn(role: Any, content: Any, message: dict[str, Any]) -> tuple[dict[str, str], str]:
    """A turn as role and text, and what is wrong with it."""
    parts = content if isinstance(content, list) else [content] if content is not None else []
    texts, thoughts, fault = [], [message[key] for key in REASONING if isinstance(message.get(key), str)][:1], ""
    for part in parts:
        part = {"type": "text", "text": part} if isinstance(part, str) else part
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in REASONING and isinstance(part.get(kind), str):
            thoughts.append(part[kind])
        else:
            fault = f"a part that is no text: {kind}"
    if message.get("tool_calls"):
        fault = fault or "tool calls"
    text, reasoning = "".join(texts), "\n\n".join(thoughts)
    if reasoning and split_reasoning(text).reasoning:
        reasoning = ""  # some datasets have it in both places
    return {"role": str(role), "content": join_reasoning(reasoning, text)}, fault
