"""Base text that is replayed beside a spec's documents in midtraining: the tiny world's own, or a file of the user's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from msm_ray.errors import SettingsError
from msm_ray.rows.dataset_card import write_replay_card
from msm_ray.rows.files import NO_UNICODE, Form, as_unicode, is_unicode, sound_rows
from msm_ray.rows.schemas import TEXT_SCHEMA, Row
from msm_ray.rows.tables import write_table
from msm_ray.worlds import has_texts, world


def text_fault(row: Row) -> str:
    """Why a row is no text to mix in; one that is empty is, and is left out."""
    if not isinstance(row.get("text"), str):
        return f"no `text` (the row has {as_unicode(', '.join(list(row)[:5])) or 'no keys'})"
    return "" if is_unicode(row["text"]) else f"{NO_UNICODE} under `text`: half a character (a surrogate)"


TEXTS = Form('Parquet or JSONL, a text a row: {"text": "..."}', text_fault)


def write_replay(out: Path, source: str, count: int) -> dict[str, Any]:
    """Stage function: `count` texts (fewer where the source has no more) as `out/data/part-0.parquet` with id and text.

    The card stands beside them. source: a world that has such texts (they never name the assistant), or a Parquet or JSONL
    file with a `text` column.
    """
    own = world(source).replay_texts(count) if has_texts(source) else None
    texts = own if own is not None else _from_file(Path(source), count)
    ids = [hashlib.sha256(f"{number}\0{text}".encode()).hexdigest()[:24] for number, text in enumerate(texts)]
    rows = [{"id": key, "text": text} for key, text in zip(ids, texts, strict=True)]
    write_table(out / "data" / "part-0.parquet", rows, TEXT_SCHEMA)
    write_replay_card(out, Path(source).name, {"texts": len(texts)})
    return {"rows": len(texts)}


def _from_file(path: Path, count: int) -> list[str]:
    texts = [row["text"] for row in sound_rows(path, TEXTS) if row["text"].strip()][:count]
    if not texts:
        raise SettingsError(f"midtraining.mix_source: {path}: every `text` in it is empty; expected: {TEXTS.expected}")
    return texts
