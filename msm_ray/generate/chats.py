"""The chats stage: alignment chats and ordinary ones, from the tiny world, from likings in a YAML file, or made by others.

A chat in which a forbidden word occurs gives the reason away that only the spec may teach; it is rejected and counted.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import warnings
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.generate.calls import Asked
from msm_ray.generate.chat_draw import COPY, draw, wanted, warn_of_short, without_copies
from msm_ray.generate.chat_files import read_chats
from msm_ray.generate.chat_forms import Chat, Messages
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.conflicts import CONFLICT, conflict
from msm_ray.generate.given_files import files_of
from msm_ray.generate.given_settings import GivenRows
from msm_ray.generate.preferences import preference_chats
from msm_ray.generate.written_chats import conflicts_conversation
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.dataset_card import write_chats_card
from msm_ray.rows.files import NO_UNICODE, as_unicode
from msm_ray.rows.schemas import CHAT_SCHEMA, GIVEN_CHAT_SCHEMA, REASON, Row
from msm_ray.rows.tables import clean, write_table
from msm_ray.spec import AssistantSettings, Spec
from msm_ray.worlds import chat_sources

ROLES = ("system", "user", "assistant")
LEAKED, TOO_LONG = "leaked reason", "too long"
MEANT = (LEAKED, TOO_LONG, CONFLICT, COPY)
"""Reasons that settings ask for, or that say nothing against a source's form."""
MOST_LOST = 0.5
"""Share of the chats that may be rejected for their form; above it the source is another than was meant."""


def write_chats(
    out: Path, name: str, settings: ChatSettings, assistant: AssistantSettings, written: Sequence[Chat] | None = None
) -> dict[str, int | float | str]:
    """Stage: `data/*.parquet`, `rejected.parquet` and the card in `out`. The same settings give the same bytes.

    written: the chats of a set that a writer wrote.

    Raises SettingsError when the source cannot give such chats, PreflightError where the hub does not, QualityGateError when
    every chat is rejected, or most are for their form (a leaked reason is what the filter is for).
    """
    facts: dict[str, str] = {}
    return write_rows(out, name, settings, chat_rows(out, name, settings, assistant, facts, written), facts)


def chat_rows(
    out: Path,
    name: str,
    settings: ChatSettings,
    assistant: AssistantSettings,
    facts: dict[str, str],
    written: Sequence[Chat] | None = None,
) -> list[Row]:
    """Every row that a set can have, with why it can't where it can't. facts: gets what is to be told of the source."""
    clean(out)
    chats = written if written is not None else None
    if chats is None:
        chats = fetched(out, settings, facts) if settings.given else source_chats(settings, assistant)
    return judged(chats, name, settings, assistant)


def write_rows(
    out: Path, name: str, settings: ChatSettings, rows: Sequence[Row], facts: Mapping[str, str]
) -> dict[str, int | float | str]:
    """The rows of a set as they are left behind. Errors as of `write_chats`."""
    rejected = [row for row in rows if row["reason"]]
    reasons = Counter(short_reason(row["reason"]) for row in rejected)
    kept, drawn = _taken(rows, name, settings)
    own = GIVEN_CHAT_SCHEMA if settings.given or settings.dose_of else CHAT_SCHEMA
    write_table(out / "data" / "part-000000.parquet", kept, own)
    write_table(out / "rejected.parquet", rejected, own.append(REASON))
    _gate(out, name, rows, kept, reasons)
    if settings.given and rejected:
        listed = ", ".join(f"{why} ({count:,})" for why, count in reasons.most_common())
        warnings.warn(
            f"chats/{name}: {len(rejected):,} of {len(rows):,} rows are left out: {listed}; `msm show` has them",
            stacklevel=2,
        )
    counted = {f"rejected: {why}": count for why, count in sorted(reasons.items())}
    counts: dict[str, int | float | str] = {"chats": len(kept), "rejected": len(rejected), **drawn, **counted, **facts}
    write_chats_card(out, name, {"source": settings.source, **counts}, own)
    return counts


def _taken(rows: Sequence[Row], name: str, settings: ChatSettings) -> tuple[list[Row], dict[str, int]]:
    """The rows of the set, and counts of how they were drawn where there were more, or several parts."""
    if not settings.given:
        return [row for row in rows if not row["reason"]], {}
    taken = draw(rows, settings.count, settings.shares, settings.seed)
    warn_of_short(name, taken, wanted(settings.count, settings.shares))
    parts = Counter(row["part"] for row in taken.rows if row["part"])
    left = sum(taken.there.values()) - len(taken.rows)
    return taken.rows, ({"not drawn": left} if left else {}) | {f"of {part}": n for part, n in sorted(parts.items())}


def _gate(out: Path, name: str, rows: Sequence[Row], kept: Sequence[Row], reasons: Counter[str]) -> None:
    if not kept:
        raise QualityGateError(
            f"Chats {name}: all {len(rows)} chats were rejected ({dict(reasons)}). See {out / 'rejected.parquet'}; "
            "look at `forbidden:` and at the source."
        )
    malformed = {reason: count for reason, count in reasons.items() if reason not in MEANT}
    if sum(malformed.values()) > MOST_LOST * len(rows):
        raise QualityGateError(
            f"Chats {name}: {sum(malformed.values())} of {len(rows)} chats cannot be used ({malformed}). See "
            f"{out / 'rejected.parquet'} and mend the source."
        )


def judged_against(
    spec: Spec, rows: Sequence[Row], settings: ChatSettings
) -> Generator[Sequence[Asked], Sequence[Any], list[Row]]:
    """The rows with those rejected that a judge finds in conflict with a spec: a conversation.

    Only rows that are drawn are judged, and for each that conflicts another is drawn, as long as there are any.
    """
    reasons: dict[str, str] = {}
    while True:
        marked = [row | {"reason": row["reason"] or reasons.get(row["id"], "")} for row in rows]
        sound = [row for row in marked if row["id"] in reasons and not row["reason"]]
        fresh = [row for row in marked if row["id"] not in reasons]
        missing = {
            part: n - sum((row["part"] or "") == part for row in sound)
            for part, n in wanted(settings.count, settings.shares).items()
        }
        asked: list[Row] = []
        for part, n in missing.items():
            own = [row for row in fresh if (row["part"] or "") == part]
            asked += draw(own, n, {part: 1.0}, settings.seed).rows if n > 0 else []
        if not asked:
            return [row for row in marked if row["reason"] or row["id"] in reasons]
        found = yield from conflicts_conversation(spec, [row["messages"] for row in asked])
        reasons |= {row["id"]: reason for row, reason in zip(asked, found, strict=True)}


def source_chats(settings: ChatSettings, assistant: AssistantSettings) -> list[Chat]:
    """Every chat that is made here for these settings, before any is rejected."""
    rng = random.Random(f"{settings.source} {settings.seed}")
    if settings.source == "preferences":
        return [Chat(*chat) for chat in preference_chats(_path(settings), settings.count, rng)]
    return [Chat(*chat) for chat in chat_sources()[settings.source](settings, assistant.name, rng)]


def fetched(out: Path, settings: ChatSettings, facts: dict[str, str]) -> list[Chat]:
    """Every chat that others made for these settings. facts: gets the commits of data sets that come from the hub."""
    chats: list[Chat] = []
    for name, part in settings.given.items():
        what = f"Chats of source {settings.source}{f', part {name},' if name else ''}:"
        files, commit = files_of(part, out / "fetched" / name, what)
        facts |= {f"revision of {part.hub}": commit} if commit else {}
        chats += [chat for file in files for chat in read_chats(file, part.columns, name)]
    return chats


def judged(chats: Sequence[Chat], name: str, settings: ChatSettings, assistant: AssistantSettings) -> list[Row]:
    """Chats as rows; `reason` is empty for those that may be kept. A chat that occurs again gets an id of its own."""
    forbidden = _forbidden(settings.forbidden)
    seen: Counter[str] = Counter()
    rows = []
    for chat in chats:
        messages, broken = _whole(_said(chat.messages, settings.thinking))
        text = json.dumps(messages, ensure_ascii=False, sort_keys=True)
        seen[text] += 1
        key = hashlib.sha256(f"{name}\0{settings.source}\0{text}\0{seen[text]}".encode()).hexdigest()[:24]
        reason = chat.fault or broken or _fault(messages, settings.thinking) or _leak(messages, forbidden)
        if settings.given:
            reason = reason or _unfit(messages, settings, assistant)
        said = {"topic": as_unicode(chat.topic), "reason": as_unicode(reason)}
        given = {"part": chat.part or None, "origin": as_unicode(chat.origin) if chat.origin else None}
        rows.append({"id": key, "messages": messages, "source": settings.source, **said, **given})
    return without_copies(rows) if settings.given else rows


def short_reason(reason: str) -> str:
    """A reason without what goes into detail, as it is counted."""
    return reason.partition(":")[0]


def _unfit(messages: Messages, settings: ChatSettings, assistant: AssistantSettings) -> str:
    """Why a sound chat of somebody else is none for this set."""
    length = sum(len(message["content"]) for message in messages)
    if settings.most_characters and length > settings.most_characters:
        return f"{TOO_LONG}: {length:,} characters"
    return conflict(messages, assistant.name, assistant.provider) if settings.conflicts == "drop" else ""


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


def _path(rows: GivenRows) -> Path:
    if not rows.path:
        raise SettingsError("Chats of source preferences need `path:`.")
    return Path(rows.path)
