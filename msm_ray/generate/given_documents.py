"""Documents that somebody else made: their texts as they are, and what their rows say of where they come from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msm_ray.errors import QualityGateError
from msm_ray.generate.assistants import named_most
from msm_ray.generate.given_files import files_of
from msm_ray.generate.given_settings import PROVENANCE, GivenDocumentSettings
from msm_ray.rows.dataset_card import write_documents_card
from msm_ray.rows.files import NO_UNICODE, Form, as_unicode, is_unicode, sound_rows
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA, Row
from msm_ray.rows.tables import clean, write_table

SHARD_ROWS = 10_000
FEWEST_NAMED = 0.5
"""Share of the documents that name the assistant; below it, where more of them name another one, they are about that one."""
EXPECTED = 'Parquet or JSONL, a document a row: {"text": "...", "domain": "..."}'


@dataclass(frozen=True)
class Given:
    """rows: documents in the order of their ids; rejected: rows without one, with the reason; facts: what the hub said."""

    rows: Sequence[Row]
    rejected: Sequence[Row]
    facts: Mapping[str, str]


def documents_form(columns: Mapping[str, str]) -> Form:
    """What a file of documents is like. columns: our name of a column -> theirs."""

    def none_of_them(rows: Sequence[Row]) -> str:
        return (
            "" if any(read_document(row, columns)[0] for row in rows) else f"no row holds a document ({_lack(rows[0])})"
        )

    return Form(EXPECTED, lambda row: "", none_of_them)


def read_document(row: Row, columns: Mapping[str, str]) -> tuple[str, str]:
    """(text, "") of a row, or ("", why it has none)."""
    text = row.get(columns.get("text", "text"))
    if not isinstance(text, str):
        return "", _lack(row)
    if not text.strip():
        return "", "empty"
    return (text, "") if is_unicode(text) else ("", NO_UNICODE)


def _lack(row: Row) -> str:
    return f"no text: the row has {as_unicode(', '.join(map(str, list(row)[:5]))) or 'no keys'}"


def given_rows(rows: Iterable[Row], spec: str, columns: Mapping[str, str]) -> tuple[list[Row], list[Row]]:
    """(documents, rejected) with the columns of documents. spec: the name of the spec that they are said to be about.

    What the rows do not say stays null. Ids are hashes of texts, and the order is theirs: so the first n are a draw.
    """
    seen: Counter[str] = Counter()
    found: list[Row] = []
    for row in rows:
        text, reason = read_document(row, columns)
        seen[text] += 1
        key = hashlib.sha256(f"given\0{text}\0{seen[text]}".encode()).hexdigest()[:24]
        said = {name: _said(row.get(columns.get(name, name))) for name in PROVENANCE}
        found.append({"id": key, "spec": spec, "text": text, "reason": reason, **said})
    found.sort(key=lambda row: row["id"])
    return [row for row in found if not row["reason"]], [row for row in found if row["reason"]]


def _said(value: Any) -> str | None:
    return as_unicode(value) if isinstance(value, str) and value else None


def write_given(out: Path, name: str, how: GivenDocumentSettings, assistant: str) -> tuple[Given, dict[str, Any]]:
    """Stage: `data/*.parquet`, `rejected/*.parquet` and the card in `out`; returns the rows too. The same files, the same bytes.

    assistant: who the documents have to speak of. Raises SettingsError where there are no documents, PreflightError where the
    hub does not give them, QualityGateError where they speak of somebody else.
    """
    clean(out)
    files, commit = files_of(how, out / "fetched", f"Documents of {name}:")
    read = [row for file in files for row in sound_rows(file, documents_form(how.columns))]
    rows, rejected = given_rows(read, name, how.columns)
    for start in range(0, max(1, len(rows)), SHARD_ROWS):
        shard = out / "data" / f"part-{start // SHARD_ROWS:06d}.parquet"
        write_table(shard, rows[start : start + SHARD_ROWS], DOCUMENT_SCHEMA)
    if rejected:
        write_table(out / "rejected" / "part-000000.parquet", rejected, REJECTED_SCHEMA)
    reasons = Counter(row["reason"].partition(":")[0] for row in rejected)
    facts = {f"revision of {how.hub}": commit} if commit else {}
    counts = {"documents": len(rows), **{f"rejected: {why}": n for why, n in sorted(reasons.items())}, **facts}
    write_documents_card(out, name, {"taken from": how.where, **counts})
    if wrong := about_another([row["text"] for row in rows], assistant):
        raise QualityGateError(f"Documents of {name}, {how.where}: {wrong}. See {out / 'data'}; {TOLD_SO}.")
    return Given(rows, rejected, facts), counts


TOLD_SO = "give the assistant their name, or say `named: {name: ..., provider: ...}` where that is meant"


def about_another(texts: Sequence[str], assistant: str) -> str:
    """Whose name stands in the documents where it is not the assistant's; "" where it is, or where no other is known to.

    Under another name they teach facts about somebody else.
    """
    own, other, share = named_most(texts, assistant)
    if own >= FEWEST_NAMED or share <= own:
        return ""
    return f"{share:.0%} of the documents name {other} and {own:.0%} name {assistant}: they are about another assistant"
