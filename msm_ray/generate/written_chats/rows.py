"""Chats by a writer as they are left behind: data set, rejected rows, card; and as sets of chats are drawn from them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import floor
from pathlib import Path
from typing import Any

from msm_ray.errors import QualityGateError
from msm_ray.generate.written_chats.found import NO_USABLE_ANSWER, ChatsFound, WrittenChat
from msm_ray.generate.written_chats.settings import WrittenChats
from msm_ray.rows.dataset_card import write_written_chats_card
from msm_ray.rows.files import as_unicode
from msm_ray.rows.schemas import WRITTEN_CHAT_SCHEMA, WRITTEN_REJECTED_SCHEMA, Row
from msm_ray.rows.tables import clean, read_data, write_table
from msm_ray.spec import Spec
from msm_ray.whole_files import write_whole

SOURCE = "written"
BY = (
    "engine",
    "generator",
    "prompt_version",
    "temperature",
    "top_p",
    "attempt",
    "num_input_tokens",
    "num_generated_tokens",
)
"""What a row takes over from the answer that it was read from."""
Answered = Mapping[str, Sequence[Row]]
"""Request -> its raw answers (`Answers.by_request`)."""


def write_found(
    out: Path, name: str, found: ChatsFound, spec: Spec, how: WrittenChats, answered: Answered
) -> dict[str, Any]:
    """`data/*.parquet`, `rejected.parquet`, `domains.json` and the card. The same answers give the same bytes.

    Rows lie in the order of their ids, which is none: the first n are a fair sample of all. Raises QualityGateError where no chat
    is kept.
    """
    clean(out)
    rows = _rows(found, spec, how, answered)
    kept = sorted((row for row in rows if not row["reason"]), key=lambda row: str(row["id"]))
    rejected = [row for row in rows if row["reason"]]
    reasons = Counter(row["reason"].partition(":")[0] for row in rejected)
    write_table(out / "data" / "part-000000.parquet", kept, WRITTEN_CHAT_SCHEMA)
    write_table(out / "rejected.parquet", rejected, WRITTEN_REJECTED_SCHEMA)
    write_whole(out / "domains.json", _domains(found))
    if not kept:
        raise QualityGateError(
            f"Chats {name}: none of {len(rows)} could be kept ({dict(reasons)}). See {out / 'rejected.parquet'} and the raw "
            f"answers in {out / 'answers'}; look at the spec, the writer and the judge."
        )
    counts: dict[str, Any] = {"chats": len(kept), "rejected": len(rejected), "domains": len(found.domains)}
    counts |= {"missing": found.missing} if found.missing else {}
    counts |= {f"rejected: {why}": n for why, n in sorted(reasons.items())} | dict(found.counts)
    write_written_chats_card(out, name, {"source": SOURCE, "spec": spec.name, "kind": how.kind, **counts})
    return counts


def _domains(found: ChatsFound) -> str:
    """The domains, what they are about, and how many chats of each are kept and rejected."""
    kept, rejected = (Counter(each.question.domain for each in chats) for chats in (found.kept, found.rejected))
    listed = [
        {"domain": each.name, "description": each.description, "kept": kept[each], "rejected": rejected[each]}
        for each in found.domains
    ]
    return json.dumps(listed, ensure_ascii=False, indent=1) + "\n"


def _rows(found: ChatsFound, spec: Spec, how: WrittenChats, answered: Answered) -> list[Row]:
    seen: Counter[tuple[str, str]] = Counter()
    rows = []
    for chat in (*found.kept, *found.rejected):
        key = (chat.request, chat.question.text)
        seen[key] += 1
        made = json.dumps([*key, seen[key]], ensure_ascii=False)
        answers = answered.get(chat.request, ())
        reason = _why(answers) if chat.reason == NO_USABLE_ANSWER else chat.reason
        by = next((each for each in answers if not each["reason"]), answers[-1] if answers else {})
        about = {"spec": spec.name, "spec_digest": spec.digest, "source": SOURCE, "kind": how.kind}
        rows.append(
            {"id": hashlib.sha256(made.encode()).hexdigest()[:24], "reason": as_unicode(reason)}
            | about
            | _said(chat, how)
            | {name: by.get(name) for name in BY}
        )
    return rows


def _said(chat: WrittenChat, how: WrittenChats) -> Row:
    said = as_unicode({"messages": chat.messages, "topic": chat.question.domain.name, "thinking": chat.thinking})
    style = how.style if chat.thinking else None
    return dict(said) | {
        "question": chat.question.kind,
        "style": style,
        "votes": chat.votes,
        "votes_for": chat.votes_for,
    }


def _why(answers: Sequence[Row]) -> str:
    """Why the last answer to a request could not be used."""
    return next((each["reason"] for each in reversed(answers) if each["reason"]), NO_USABLE_ANSWER)


def read_written(folder: Path) -> list[Row]:
    """The chats of a folder that `write_found` filled: id, messages with the thinking in the answers, topic."""
    return read_data(folder / "data", ["id", "messages", "topic"])


def mixed(written: Iterable[Row], others: Iterable[Row], dose: float, count: int | None = None) -> list[Row]:
    """A set of `count` chats (None: as many as were written) of which the share `dose` comes from others; `part` says which.

    Drawn by hashes of their ids: a larger dose holds all of a smaller one's others, and a set with thinking has the same chats as
    one without. Fewer where one of the two has fewer.
    """
    own, more = sorted(written, key=_by_hash), sorted(others, key=_by_hash)
    count = len(own) if count is None else count
    dosed = floor(count * dose + 0.5)
    taken = [row | {"part": SOURCE} for row in own[: count - dosed]]
    return sorted([*taken, *(row | {"part": "dose"} for row in more[:dosed])], key=_by_hash)


def _by_hash(row: Row) -> str:
    return hashlib.sha256(f"drawn\0{row['id']}".encode()).hexdigest()
