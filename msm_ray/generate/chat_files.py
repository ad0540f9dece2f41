"""Other people's chats, read from files: Parquet or JSONL, in the forms that `chat_forms.py` knows.

A line that is no JSON object is a fault of the file, told before anything starts. A row that is one and holds no usable chat is a
fault of that row: it is rejected with its reason, and the others stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msm_ray.generate.chat_forms import Chat, read_chat
from msm_ray.generate.chat_settings import GivenChats
from msm_ray.rows.files import Form, checked, sound_rows
from msm_ray.rows.schemas import Row

EXPECTED = (
    'Parquet or JSONL, a chat a row: {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}, or '
    "another form of docs/data.md"
)


def chats_form(columns: Mapping[str, str]) -> Form:
    """What a file of chats is like. columns: our name of a column -> theirs."""

    def none_of_them(rows: Sequence[Row]) -> str:
        if any(not read_chat(row, columns).fault for row in rows):  # mostly the first
            return ""
        return f"no row holds a chat ({read_chat(rows[0], columns).fault})" if rows else ""

    return Form(EXPECTED, lambda row: "", none_of_them)


CHATS = chats_form({})


def read_chats(path: Path, columns: Mapping[str, str] | None = None, part: str = "") -> list[Chat]:
    """The chats of a Parquet or JSONL file, with the faults of those that are none.

    Raises SettingsError with file and line where a line is no row, and where no row at all holds a chat.
    """
    return [read_chat(row, columns or {}, part) for row in sound_rows(path, chats_form(columns or {}))]


def chats_here(part: GivenChats, name: str = "") -> list[Chat]:
    """The chats of a part that is a file, as far as it can be read: for what is said beforehand. Never raises."""
    rows = checked(part.path, chats_form(part.columns))[0] if part.path else []
    return [read_chat(row, part.columns, name) for row in rows]
