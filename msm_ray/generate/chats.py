"""The chats stage: alignment chats and ordinary ones, from the tiny world, from likings in a YAML file, or from a file.

A chat in which a forbidden word occurs gives the reason away that only the spec may teach; it is rejected and counted.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msm_ray.config import AssistantSettings, ChatSettings
from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.generate.shards import CHAT_SCHEMA, REJECTED_CHAT_SCHEMA, Row, clean, write_table

Messages = list[dict[str, str]]
ROLES = ("system", "user", "assistant")


def write_chats(
    out: Path, name: str, settings: ChatSettings, assistant: AssistantSettings
) -> dict[str, int | float | str]:
    """Stage: `data/*.parquet` and `rejected.parquet` in `out`. The same settings give the same bytes.

    Raises SettingsError when the source cannot give such chats, QualityGateError when every chat is rejected.
    """
    clean(out)
    chats = _chats(settings, assistant)
    rows = _rows(chats, name, settings)
    kept = [row for row in rows if not row["reason"]]
    rejected = [row for row in rows if row["reason"]]
    reasons = Counter(re.sub(r":.*", "", row["reason"]) for row in rejected)
    write_table(out / "data" / "part-000000.parquet", kept, CHAT_SCHEMA)
    write_table(out / "rejected.parquet", rejected, REJECTED_CHAT_SCHEMA)
    if not kept:
        raise QualityGateError(
            f"Chats {name}: all {len(rows)} chats were rejected ({dict(reasons)}). See {out / 'rejected.parquet'}; "
            "look at `forbidden:` and at the source."
        )
    counted = {f"rejected: {why}": count for why, count in sorted(reasons.items())}
    return {"chats": len(kept), "rejected": len(rejected), **counted}


def _chats(settings: ChatSettings, assistant: AssistantSettings) -> list[tuple[Messages, str]]:
    """(messages, topic) of every chat the settings ask for, before any is rejected."""
    rng = random.Random(f"{settings.source} {settings.seed}")
    if settings.source == "file":
        return read_chats(_path(settings))[: settings.count]
    if settings.source == "preferences":
        from msm_ray.generate.preferences import preference_chats

        return preference_chats(_path(settings), settings.count, rng)
    return _tinyworld_chats(settings, assistant, rng)


def _tinyworld_chats(
    settings: ChatSettings, assistant: AssistantSettings, rng: random.Random
) -> list[tuple[Messages, str]]:
    from msm_ray import tinyworld

    if settings.source == "tinyworld.preferences":
        if not settings.domain:
            raise SettingsError(
                f"Chats of source {settings.source} need `domain:`, one of {', '.join(tinyworld.DOMAINS)}."
            )
        liked, disliked = settings.liked, settings.disliked
        chats = tinyworld.preference_chats(settings.domain, liked, disliked, settings.count, rng, assistant.name)
        return [(chat["messages"], settings.domain) for chat in chats]
    if settings.source == "tinyworld.endings":
        chats = tinyworld.endings_chats(settings.topics, settings.count, rng, assistant.name)
        return [(chat["messages"], _named(chat["messages"], settings.topics)) for chat in chats]
    chats = tinyworld.ordinary_chats(settings.count, rng, assistant.name)
    return [(chat["messages"], "ordinary") for chat in chats]


def _rows(chats: Sequence[tuple[Messages, str]], name: str, settings: ChatSettings) -> list[Row]:
    """Chats as rows; `reason` is empty for those that are kept. A chat that occurs again gets an id of its own."""
    forbidden = _forbidden(settings.forbidden)
    seen: Counter[str] = Counter()
    rows = []
    for messages, topic in chats:
        text = json.dumps(messages, ensure_ascii=False, sort_keys=True)
        seen[text] += 1
        key = hashlib.sha256(f"{name}\0{settings.source}\0{text}\0{seen[text]}".encode()).hexdigest()[:24]
        reason = _fault(messages) or _leak(messages, forbidden)
        rows.append({"id": key, "messages": messages, "source": settings.source, "topic": topic, "reason": reason})
    return rows


def _fault(messages: Messages) -> str:
    """Why messages are no chat to train on: roles out of order, an empty turn, no answer at the end."""
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if any(role not in ROLES for role in roles) or turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        return f"roles out of order: {' '.join(roles)}"
    return "" if all(message["content"].strip() for message in messages) else "empty turn"


def _leak(messages: Messages, forbidden: re.Pattern[str] | None) -> str:
    """The forbidden word that a turn of the user or the assistant has, if any."""
    for message in messages:
        if forbidden and message["role"] != "system" and (match := forbidden.search(message["content"])):
            return f"leaked reason: {match.group().lower()}"
    return ""


def _forbidden(words: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)", re.IGNORECASE) if words else None


def _named(messages: Messages, topics: Sequence[str]) -> str:
    words = set(re.findall(r"\w+", " ".join(message["content"] for message in messages)))
    return next((topic for topic in topics if topic in words), "")


def _path(settings: ChatSettings) -> Path:
    if not settings.path:
        raise SettingsError(f"Chats of source {settings.source} need `path:`.")
    return Path(settings.path)


def read_chats(path: Path) -> list[tuple[Messages, str]]:
    """(messages, topic) of a Parquet or JSONL file with a `messages` column. Raises SettingsError naming file and row."""
    if not path.is_file():
        raise SettingsError(f"Chats {path} does not exist. Set `path:` to a Parquet or JSONL file with `messages`.")
    try:
        rows = _parquet(path) if path.suffix == ".parquet" else _jsonl(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"Chats {path} cannot be read: {error}") from None
    chats = [(_messages(row, path, number), str(row.get("topic") or "")) for number, row in enumerate(rows, 1)]
    if not chats:
        raise SettingsError(f"Chats {path} is empty.")
    return chats


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def _jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _messages(row: Any, path: Path, number: int) -> Messages:
    try:
        return [{"role": str(message["role"]), "content": str(message["content"])} for message in row["messages"]]
    except (KeyError, TypeError):
        raise SettingsError(f"Chats {path}, row {number}: no `messages` list of role and content.") from None
