"""Other people's chats: Parquet or JSONL with `messages`, in the forms that chat APIs and datasets have.

A turn is text, or a list of parts whose texts are joined; reasoning may stand in a field or a part of its own and is put before
the answer as `<think>...</think>`. A chat that holds what is no text is not lost in silence: it comes with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msm_ray.reasoning import join_reasoning, split_reasoning
from msm_ray.rows.files import Form, sound_rows
from msm_ray.rows.schemas import Row

Messages = list[dict[str, str]]
REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Chat:
    """A chat of a source. fault: why it cannot be one to train on, where reading it showed that."""

    messages: Messages
    topic: str = ""
    fault: str = ""


def chat_fault(row: Row) -> str:
    """Why a row is no chat at all; one that is merely unfit for training is rejected by the stage and counted."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        return "no `messages` list of role and content"
    whole = all(isinstance(m, dict) and "role" in m and "content" in m for m in messages)
    return "" if whole else "a message without role and content"


CHATS = Form(
    'Parquet or JSONL, a chat a row: {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}',
    chat_fault,
)


def read_chats(path: Path) -> list[Chat]:
    """The chats of a Parquet or JSONL file. Raises SettingsError with file and line where a row is none."""
    return [_chat(row) for row in sound_rows(path, CHATS)]


def _chat(row: Row) -> Chat:
    turns = [_turn(message["role"], message["content"], message) for message in row["messages"]]
    kept = [message for message, _ in turns if message["role"] != "system" or message["content"]]
    return Chat(kept, str(row.get("topic") or ""), next((fault for _, fault in turns if fault), ""))


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
