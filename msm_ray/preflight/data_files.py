"""Data files line by line, so that everything that is wrong in one is told at once and where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from msm_ray.errors import SettingsError
from msm_ray.yaml_tree import At, read_tree

MOST_TOLD = 5
"""Lines of one file that are told one by one; the rest is counted."""

Problem = tuple[int | None, str]
"""Line (None: the file as a whole, or a Parquet file) and what is wrong there."""


@dataclass(frozen=True)
class Rows:
    """The rows of a JSONL or Parquet file with their lines (rows from 1 in Parquet), and what could not be read."""

    rows: tuple[tuple[int, Any], ...]
    problems: tuple[Problem, ...] = ()


def read_rows(path: str) -> Rows:
    """Every row of a file; a line that is no JSON is a problem and no end. A file that has not changed is read once."""
    try:
        state = Path(path).stat()
    except OSError as error:
        return Rows((), ((None, f"cannot be read ({error.strerror or error})"),))
    return _read_rows(str(Path(path).resolve()), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _read_rows(path: str, changed: int, size: int) -> Rows:
    if Path(path).suffix in (".gz", ".zst", ".bz2", ".xz", ".zip"):
        return Rows((), ((None, "compressed; unpack it"),))
    try:
        return _parquet(path) if path.endswith(".parquet") else _jsonl(Path(path).read_bytes())
    except OSError as error:
        return Rows((), ((None, f"cannot be read ({error.strerror or error})"),))


def checked(path: str, fault: Callable[[Any], str]) -> tuple[list[Any], list[Problem]]:
    """The sound rows of a file and the problems: what could not be read, and what `fault` says of a row."""
    read = read_rows(path)
    found: list[Problem] = [*read.problems]
    sound = []
    for line, row in read.rows:
        if wrong := fault(row):
            found.append((line, wrong))
        else:
            sound.append(row)
    if not read.rows and not found:
        found.append((None, "is empty"))
    return sound, few(sorted(found, key=lambda problem: problem[0] or 0))


def few(problems: list[Problem]) -> list[Problem]:
    """The first problems one by one, and how many more there are."""
    more = len(problems) - MOST_TOLD
    return problems if more <= 0 else [*problems[:MOST_TOLD], (None, f"and {more:,} more lines like these")]


def read_yaml(path: str) -> tuple[Any, dict[At, int]]:
    """What a YAML file holds and the line of every key. Raises SettingsError with file and line."""
    try:
        return read_tree(Path(path).read_text(encoding="utf-8-sig"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _jsonl(content: bytes) -> Rows:
    rows: list[tuple[int, Any]] = []
    problems: list[Problem] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except UnicodeDecodeError:
                problems.append((number, "not UTF-8; save the file as UTF-8"))
            except ValueError as error:
                problems.append((number, f"not valid JSON ({_short(error)})"))
    return Rows(tuple(rows), tuple(problems))


def _parquet(path: str) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        return Rows(tuple(enumerate(_every_row(parquet.read_table(path)), 1)))
    except (pa.ArrowInvalid, pa.ArrowException) as error:
        return Rows((), ((None, f"cannot be read as Parquet ({str(error).splitlines()[0]})"),))


def _every_row(table: Any) -> Iterator[Any]:
    for batch in table.to_batches():
        yield from batch.to_pylist()


def _short(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)
