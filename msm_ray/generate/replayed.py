"""Base text that is replayed beside a spec's documents in midtraining: the tiny world's own, or a file of the user's."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from msm_ray.errors import SettingsError
from msm_ray.generate.dataset_card import write_replay_card


def write_replay(out: Path, source: str, count: int) -> dict[str, Any]:
    """Stage function: `count` texts (fewer where the source has no more) as `out/data/part-0.parquet` with id and text.

    The card stands beside them. source: `tinyworld` (texts that never name the assistant), or a Parquet or JSONL file with a
    `text` column.
    """
    texts = _tinyworld(count) if source == "tinyworld" else _from_file(Path(source), count)
    ids = [hashlib.sha256(f"{number}\0{text}".encode()).hexdigest()[:24] for number, text in enumerate(texts)]
    folder = out / "data"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".part-0.parquet.tmp"
    parquet.write_table(pa.table({"id": ids, "text": texts}), temporary, compression="zstd")
    temporary.replace(folder / "part-0.parquet")
    write_replay_card(out, Path(source).name, {"texts": len(texts)})
    return {"rows": len(texts)}


def _tinyworld(count: int) -> list[str]:
    from msm_ray.tinyworld import ordinary_documents

    return ordinary_documents(count, random.Random(0))


def _from_file(path: Path, count: int) -> list[str]:
    if path.suffix == ".parquet":
        rows: Iterable[Any] = parquet.read_table(path, columns=["text"]).column("text").to_pylist()
    else:
        rows = (json.loads(line).get("text") for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    texts = [text for text in rows if isinstance(text, str) and text.strip()][:count]
    if not texts:
        raise SettingsError(f"midtraining.mix_source: {path}: no row with a `text`")
    return texts
