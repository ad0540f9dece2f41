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

from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.generate.chat_files import Chat, Messages, read_chats
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.preferences import preference_chats
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.dataset_card import write_chats_card
from msm_ray.rows.files import NO_UNICODE, as_unicode
from msm_ray.rows.schemas import CHAT_SCHEMA, REJECTED_CHAT_SCHEMA, Row
from msm_ray.rows.tables import clean, write_table
from msm_ray.spec import AssistantSettings
from msm_ray.worlds import chat_sources

ROLES = ("system", "user", "assistant")
LEAKED = "leaked reason"
MOST_LOST = 0.5
"""Share of the chats that may be rejected for their form; above it the source is another than was meant."""


def write_chats(
    out: Path, name: str, settings: ChatSettings, assistant: AssistantSettings
) -> dict[str, int | float | str]:
    """Stage: `data/*.parquet`, `rejected.parquet` and the card in `out`. The same settings give the same bytes.

    Raises SettingsError when the source cannot give such chats, QualityGateError when every chat is rejected, or most are
    for their form (a leaked reason is what the filter is for).
    """
    clean(out)
    chats = source_chats(settings, assistant)
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
    malformed = {reason: count for reason, count in reasons.items() if reason != LEAKED}
    if sum(malformed.values()) > MOST_LOST * len(rows):
        raise QualityGateError(
            f"Chats {name}: {sum(malformed.values())} of {len(rows)} chats cannot be used ({malformed}). See "
            f"{out / 'rejected.parquet'} and mend the source."
        )
    counted = {f"rejected: {why}": count for why, count in sorted(reasons.items())}
    counts: dict[str, int | float | str] = {"chats": len(kept), "rejected": len(rejected), **counted}
    write_chats_card(out, name, {"source": settings.source, **counts})
    return counts


def source_chats(settings: ChatSettings, assistant: AssistantSettings) -> list[Chat]:
    """Every chat that the settings ask for, before any is rejected."""
    rng = random.Random(f"{settings.source} {settings.seed}")
    if settings.source == "file":
        return read_chats(_path(settings))[: settings.count]
    if settings.source == "preferences":
        return [Chat(*chat) for chat in preference_chats(_path(settings), settings.count, rng)]
    return [Chat(*chat) for chat in chat_sources()[settings.source](settings, assistant.name, rng)]


def _rows(chats: Sequence[Chat], name: str, settings: ChatSettings) -> list[Row]:
    """Chats as rows; `reason` is empty for those that are kept. A chat that occurs again gets an id of its own."""
    forbidden = _forbidden(settings.forbidden)
    seen: Counter[str] = Counter()
    rows = []
    for chat in chats:
        messages, broken = _whole(_said(chat.messages, settings.thinking))
        text = json.dumps(messages, ensure_ascii=False, sort_keys=True)
        seen[text] += 1
        key = hashlib.sha256(f"{name}\0{settings.source}\0{text}\0{seen[text]}".encode()).hexdigest()[:24]
        reason = chat.fault or broken or _fault(messages, settings.thinking) or _leak(messages, forbidden)
        said = {"topic": as_unicode(chat.topic), "reason": as_unicode(reason)}
        rows.append({"id": key, "messages": messages, "source": settings.source, **said})
    return rows


def _said(messages: Messages, thinking: bool | None) -> Messages:
    """Where a set does not think, the answers without their reasoning: one file serves both kinds of sets."""
    if thinking is not False:
        return messages
    return [{**m, "content": split_reasoning(m["content"]).answer} if m["role"] == "assistant" else m for m in messages]


def _whole(messages: Messages) -> tuple[Messages, str]:
    """Messages that can be written, and what was wrong: half a surrogate pair (of an emoji cut in two) is no Unicode."""
    mended: Messages = as_unicode(messages)
    return mended, "" if mended == messages else NO_UNICODE


def _fault(messages: Messages, thinking: bool | None = None) -> str:
    """Why messages are no chat to train on: roles out of order, an empty turn, no answer at the end, reasoning alone."""
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if any(role not in ROLES for role in roles) or turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        return f"roles out of order: {' '.join(roles)}"
    if not all(message["content"].strip() for message in messages):
        return "empty turn"
    replies = [split_reasoning(message["content"]) for message in messages if message["role"] == "assistant"]
    if not all(reply.answer.strip() for reply in replies):
        return "reasoning without an answer"
    return "no reasoning, and the set thinks" if thinking and not replies[-1].reasoning else ""


def _leak(messages: Messages, forbidden: re.Pattern[str] | None) -> str:
    """The forbidden word that a turn of the user or the assistant has, if any."""
    for message in messages:
        if forbidden and message["role"] != "system" and (match := forbidden.search(message["content"])):
            return f"{LEAKED}: {match.group().lower()}"
    return ""


def _forbidden(words: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)", re.IGNORECASE) if words else None


def _path(settings: ChatSettings) -> Path:
    if not settings.path:
        raise SettingsError(f"Chats of source {settings.source} need `path:`.")
    return Path(settings.path)
