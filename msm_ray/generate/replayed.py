"""Base text that is replayed beside a spec's documents in midtraining: the tiny world's own, or a file of the user's."""

from __future__ import annotations

import hashlib
from collections import Counter
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
    file with a `text` column, of which so many are drawn; empty texts and copies are left out and counted.
    """
    left_out: Counter[str] = Counter()
    own = world(source).replay_texts(count) if has_texts(source) else None
    texts = own if own is not None else _from_file(Path(source), count, left_out)
    ids = [hashlib.sha256(f"{number}\0{text}".encode()).hexdigest()[:24] for number, text in enumerate(texts)]
    rows = [{"id": key, "text": text} for key, text in zip(ids, texts, strict=True)]
    write_table(out / "data" / "part-0.parquet", rows, TEXT_SCHEMA)
    counted = {f"rejected: {why}": n for why, n in sorted(left_out.items()) if n}
    write_replay_card(out, Path(source).name, {"texts": len(texts), **counted})
    return {"rows": len(texts), **counted}


def _from_file(path: Path, count: int, left_out: Counter[str]) -> list[str]:
    """Texts of a file, once each: the first so many in the order of their hashes, for a file may be sorted."""
    read = [row["text"] for row in sound_rows(path, TEXTS)]
    said = [text for text in read if text.strip()]
    texts = sorted(dict.fromkeys(said), key=lambda text: hashlib.sha256(text.encode()).digest())
    left_out.update({"empty": len(read) - len(said), "copy of another text": len(said) - len(texts)})
    if not texts:
        raise SettingsError(f"midtraining.mix_source: {path}: every `text` in it is empty; expected: {TEXTS.expected}")
    return texts[:count]
