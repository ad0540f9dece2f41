"""Recorded completions instead of a model: for tests, for what was written elsewhere, for parsing anew without paying again.

A JSONL or Parquet file, or a folder of such; each row has its text under `completion`, `raw` or `text`, and may have `id` (of
the request that it answers, `calls.request_id`, or of the row that it belongs to), `finish_reason`, `num_input_tokens`,
`num_generated_tokens`, and columns that `EngineSettings.recorded` names (such as a document's `type`, kept as provenance).
Without ids, recordings go to the rows in order. A lookup needs no pipeline: it is done where rows are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msm_ray.engines import EngineSettings, carried
from msm_ray.errors import SettingsError
from msm_ray.failures import REFUSED
from msm_ray.rows.files import NO_UNICODE, Form, as_unicode, checked, is_unicode, shown, sound_rows
from msm_ray.rows.schemas import Row

NOT_RECORDED = "no recorded completion"
TEXT_KEYS = ("completion", "raw", "text")
COUNTS = ("num_input_tokens", "num_generated_tokens")


def recorded_text(row: Row) -> str | None:
    """The text of a recorded row; None where it has none."""
    return next((row[key] for key in TEXT_KEYS if isinstance(row.get(key), str)), None)


def recording_fault(row: Row) -> str:
    """Why a row is no recorded completion."""
    if recorded_text(row) is None:
        return f"no text under any of {', '.join(TEXT_KEYS)}"
    if not isinstance(row.get("id"), str | None):
        return f"`id` is {shown(row['id'])}, not a text; without any, recordings go to the ideas in order"
    odd = next((key for key in COUNTS if not _is_count(row.get(key))), None)
    return f"`{odd}` is {shown(row[odd])}, not a number of tokens" if odd else ""


def _is_count(value: Any) -> bool:
    return value is None or isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _ids_fault(rows: Sequence[Row]) -> str:
    """Rows are found by their ids or by their places, not some so and some so."""
    named = sum(map(_has_id, rows))
    return (
        "" if named in (0, len(rows)) else f"{named:,} of {len(rows):,} rows have an `id`; give every row one, or none"
    )


def _has_id(row: Row) -> bool:
    return row.get("id") is not None


RECORDING = Form(
    f"JSONL or Parquet, a row a document, its text under one of {', '.join(TEXT_KEYS)}", recording_fault, _ids_fault
)


def answered_here(settings: EngineSettings, rows: Iterable[Row]) -> Iterator[Row]:
    """Rows answered from the recording `settings.replay`, by a lookup in this process.

    Raises SettingsError when the recording cannot be read.
    """
    recorded = read_recording(Path(settings.replay or ""))
    by_id = {row["id"]: row for row in recorded} if _has_id(recorded[0]) else None
    for row in rows:
        yield recorded_answer(row, _find(row, recorded, by_id), settings.recorded)


def _find(row: Row, recorded: Sequence[Row], by_id: dict[str, Row] | None) -> Row | None:
    """By the prompt that was answered (`request`), by the row's id, or by its place."""
    if by_id is None:
        return _at(recorded, row["position"])
    return by_id.get(row.get("request") or "") or by_id.get(row["id"])


def recorded_documents(path: Path) -> list[Row]:
    """The sound rows of a recording that are documents: all of one that was made of documents alone. Faults are told at plan."""
    rows = [row for file in recording_files(path) for row in checked(file, RECORDING)[0]]
    return [row for row in rows if row.get("call") in (None, "documents")]


def has_requests(path: Path) -> bool:
    """Whether answers are found by ids, those of requests for example, and not by their places."""
    rows = [row for file in recording_files(path) for row in checked(file, RECORDING)[0][:1]]
    return bool(rows) and all(map(_has_id, rows))


def answers_calls(path: Path) -> bool:
    """Whether a recording was made call by call, each answer found by what was asked, and not of documents alone."""
    return any("call" in row for file in recording_files(path) for row in checked(file, RECORDING)[0][:1])


def read_recording(path: Path) -> list[Row]:
    """The rows of a recording, each with its text under `completion`; those of every file of a folder, by name.

    Raises SettingsError naming file and line.
    """
    return [
        {**row, "completion": recorded_text(row)}
        for file in recording_files(path)
        for row in sound_rows(file, RECORDING)
    ]


def recording_files(path: Path) -> list[Path]:
    """The files of a recording: itself, or those in a folder. Raises SettingsError for a folder without any."""
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if each.name.endswith((".jsonl", ".jsonl.gz", ".parquet")))
    if not files:
        raise SettingsError(f"{path}: no recording in this folder (.jsonl, .jsonl.gz or .parquet)")
    return files


def recorded_answer(row: Row, found: Row | None, own: tuple[str, ...] = ()) -> Row:
    """A prompt's row with the completion that was found for it, or with why there is none. own: columns that it may change."""
    kept = carried(row)
    if found is None:
        return kept | _completion("", "", 0, 0, NOT_RECORDED)
    if not is_unicode(found["completion"]):
        return kept | _completion("", "", 0, 0, f"the recorded completion is {NO_UNICODE}")
    return (
        kept
        | {name: as_unicode(str(found.get(name) or row[name])) for name in own}
        | _completion(
            found["completion"],
            as_unicode(str(found.get("finish_reason") or "stop")),
            int(found.get("num_input_tokens") or 0),
            int(found.get("num_generated_tokens") or 0),
            "",
        )
    )


def _at(recorded: Sequence[Row], position: int) -> dict[str, Any] | None:
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
