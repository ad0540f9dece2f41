"""Files of rows that people bring, JSONL (also gzipped) and Parquet: the one reader that checks and stages share.

A line ends at \\n alone, with or without \\r before it, for a text may hold U+2028 and others at which `str.splitlines` cuts;
byte order marks are no text. What a file is shows in its first bytes, whatever its name. A line that is no JSON object is a
problem with its number and no end, so that everything that is wrong in a file is told at once.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from msm_ray.errors import SettingsError
from msm_ray.rows.schemas import Row

PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
OTHERWISE_PACKED = (b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")
"""First bytes of zstd, bzip2, xz and zip."""

MOST_TOLD = 5
"""Lines of one file that are told one by one; the rest is counted."""

NO_UNICODE = "no Unicode text"

Problem = tuple[int | None, str]
"""Line (None: the file as a whole) and what is wrong there."""


def file_digest(path: str) -> str:
    """SHA-256 of a data file that an experiment names. Raises SettingsError where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); paths are taken from the working directory"
        ) from None


@dataclass(frozen=True)
class Form:
    """What the rows of a file have to be like.

    expected: the form in words with an example, for whoever mends a file. fault: what is wrong with a row, empty where
    nothing is. together: what is wrong with all rows beside each other, asked where each is sound by itself.
    """

    expected: str
    fault: Callable[[Row], str]
    together: Callable[[Sequence[Row]], str] = lambda rows: ""


@dataclass(frozen=True)
class Rows:
    """The rows of a file with their lines (in Parquet: rows from 1), and what could not be read."""

    rows: tuple[tuple[int, Row], ...]
    problems: tuple[Problem, ...] = ()


def read_file(path: str | Path) -> Rows:
    """Every row of a file. One that has not changed is read once: the rows are shared, and nobody changes them."""
    try:
        state = Path(path).stat()
        return _read(str(Path(path).resolve()), state.st_ino, state.st_mtime_ns, state.st_size)
    except OSError as error:
        return Rows((), ((None, f"cannot be read ({error.strerror or error})"),))


def checked(path: str | Path, form: Form) -> tuple[list[Row], list[Problem]]:
    """The sound rows of a file, and the problems by line: what could not be read, and the faults of rows."""
    read = read_file(path)
    found: list[Problem] = [*read.problems]
    sound = []
    for line, row in read.rows:
        if wrong := form.fault(row):
            found.append((line, wrong))
        else:
            sound.append(row)
    if not read.rows and not found:
        found.append((None, "is empty"))
    if not found and (wrong := form.together(sound)):
        found.append((None, wrong))
    return sound, sorted(found, key=lambda problem: problem[0] or 0)


def sound_rows(path: str | Path, form: Form) -> list[Row]:
    """Every row of a file whose rows are all sound. Raises SettingsError with file, line, fault and form where one is not."""
    rows, problems = checked(path, form)
    if problems:
        line, wrong = problems[0]
        more = f" (and {len(problems) - 1:,} more lines)" if len(problems) > 1 else ""
        place = path if line is None else f"{path}:{line}"
        raise SettingsError(f"{place}: {wrong}{more}; expected: {form.expected}")
    return rows


def few(problems: list[Problem]) -> list[Problem]:
    """The first problems one by one, and how many more there are."""
    more = len(problems) - MOST_TOLD
    return problems if more <= 0 else [*problems[:MOST_TOLD], (None, f"and {more:,} more lines like these")]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a row or a part of one, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def is_unicode(value: Any) -> bool:
    r"""Whether every text in it can be written: JSON can hold half a surrogate pair (`"\ud83d"`, an emoji cut in two)."""
    try:
        for text in texts_in(value):
            text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(value: Any) -> Any:
    """The same with `?` in place of what is no Unicode, so that it can be shown and kept."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {as_unicode(key): as_unicode(inner) for key, inner in value.items()}
    return [as_unicode(inner) for inner in value] if isinstance(value, list) else value


def shown(value: Any) -> str:
    """The beginning of a value, as JSON has it."""
    return json.dumps(value, default=str)[:40]


@lru_cache(maxsize=64)
def _read(path: str, number: int, changed: int, size: int) -> Rows:
    """number, changed, size: inode, nanoseconds and bytes by which a file is known as the same."""
    content = Path(path).read_bytes()
    if content.startswith(OTHERWISE_PACKED):
        return Rows((), ((None, "compressed otherwise than by gzip; unpack it"),))
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            return Rows((), ((None, f"damaged gzip ({error}); copy or pack it anew"),))
    if content.startswith(PARQUET) or Path(path).suffix.lower() == ".parquet":
        return _parquet(content)
    return _jsonl(content)


def _jsonl(content: bytes) -> Rows:
    rows: list[tuple[int, Row]] = []
    problems: list[Problem] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        row, wrong = _object(line)
        if wrong:
            problems.append((number, wrong))
        elif row is not None:
            rows.append((number, row))
    if len(problems) > 1 and _is_json(content):
        return Rows((), ((None, "one JSON value over several lines; write a row a line (JSONL)"),))
    return Rows(tuple(rows), tuple(problems))


def _object(line: bytes) -> tuple[Row | None, str]:
    """The object in a line, or what is wrong with the line; neither for an empty one."""
    try:
        text = line.decode("utf-8-sig")
        if not text.strip():
            return None, ""
        value = json.loads(text)
    except UnicodeDecodeError:
        return None, "not UTF-8; save the file as UTF-8"
    except RecursionError:
        return None, "nested too deeply to be read"
    except json.JSONDecodeError as error:
        return None, f"not valid JSON ({error.msg}, character {error.colno})"
    except ValueError as error:
        return None, f"not valid JSON ({error})"
    if not isinstance(value, dict):
        return None, f'a row is an object, {{"key": value, ...}}, and this is {shown(value)}'
    return value, ""


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


def _parquet(content: bytes) -> Rows:
    rows: list[tuple[int, Row]] = []
    problems: list[Problem] = []
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        return Rows((), ((None, f"cannot be read as Parquet ({str(error).splitlines()[0]})"),))
    number = 0
    for batch in table.to_batches():
        for row, wrong in _rows_of(batch):
            number += 1
            if wrong:
                problems.append((number, wrong))
            else:
                rows.append((number, row))
    return Rows(tuple(rows), tuple(problems))


def _rows_of(batch: pa.RecordBatch) -> Iterator[tuple[Row, str]]:
    """Rows with what is wrong with them: a column may hold what is no UTF-8, or no time that Python knows."""
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield {}, f"cannot be read ({error})"
            return
        for place in range(batch.num_rows):
            yield from _rows_of(batch.slice(place, 1))
        return
    yield from ((row, "") for row in rows)
