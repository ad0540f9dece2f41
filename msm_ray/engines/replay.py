"""Recorded completions instead of a model: for tests, for documents written elsewhere, for parsing anew without paying again.

A JSONL or Parquet file; each row has its text under `completion`, `raw` or `text`, and may have `id` (the row it belongs
to), `type` (kept as provenance), `finish_reason`, `num_input_tokens`, `num_generated_tokens`. Without ids, recordings go to
the ideas in order.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.config import DocumentSettings
from msm_ray.engines import Engine
from msm_ray.errors import SettingsError
from msm_ray.failures import REFUSED

if TYPE_CHECKING:
    from ray.data import Dataset

TEXT_KEYS = ("completion", "raw", "text")


def replay_engine(settings: DocumentSettings) -> Engine:
    """An engine that answers from the recording `settings.replay`. Raises SettingsError when that cannot be read."""
    recorded = read_recording(Path(settings.replay or ""))
    by_id = {row["id"]: row for row in recorded} if "id" in recorded[0] else None

    def run(prompts: Dataset) -> Dataset:
        import ray

        reference = ray.put((recorded, by_id))  # once a run, not once a task
        return prompts.map(partial(_answer, reference=reference))

    return run


def count_recorded(settings: DocumentSettings) -> int:
    """How many completions the recording holds."""
    return len(read_recording(Path(settings.replay or "")))


def read_recording(path: Path) -> list[dict[str, Any]]:
    """The rows of a recording, each with its text under `completion`. Raises SettingsError naming file and line."""
    if not path.is_file():
        raise SettingsError(
            f"Recording {path} does not exist. Set `replay:` to a JSONL or Parquet file of completions."
        )
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)
    if not rows:
        raise SettingsError(f"Recording {path} is empty.")
    for number, row in enumerate(rows, 1):
        key = next((key for key in TEXT_KEYS if isinstance(row.get(key), str)), None)
        if key is None:
            raise SettingsError(f"Recording {path}, row {number}: no text under any of {', '.join(TEXT_KEYS)}.")
        if ("id" in row) != ("id" in rows[0]):
            raise SettingsError(f"Recording {path}, row {number}: either every row has an `id` or none has.")
        row["completion"] = row[key]
    return rows


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def _json_rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        try:
            if line.strip():
                rows.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise SettingsError(f"Recording {path}, line {number}: no JSON object ({error}).") from None
    return rows


def _answer(row: dict[str, Any], reference: Any) -> dict[str, Any]:
    import ray

    recorded, by_id = ray.get(reference)
    found = by_id.get(row["id"]) if by_id is not None else _at(recorded, row["position"])
    carried = {key: value for key, value in row.items() if key not in ("prompt", "temperature", "top_p", "max_tokens")}
    if found is None:
        return carried | _completion("", "", 0, 0, "no recorded completion")
    return (
        carried
        | {"type": str(found.get("type") or row["type"])}
        | _completion(
            found["completion"],
            str(found.get("finish_reason") or "stop"),
            int(found.get("num_input_tokens") or 0),
            int(found.get("num_generated_tokens") or 0),
            "",
        )
    )


def _at(recorded: list[dict[str, Any]], position: int) -> dict[str, Any] | None:
    return recorded[position] if position < len(recorded) else None


def _completion(text: str, finish_reason: str, read: int, written: int, error: str) -> dict[str, Any]:
    return {
        "completion": text,
        "finish_reason": finish_reason,
        "num_input_tokens": read,
        "num_generated_tokens": written,
        "error": error,
        "failure": REFUSED if error else "",
    }
