"""JSONL of our own that grows while it is read, or that a kill may have cut off: a line a value, and only whole lines count.

What people bring is read by `files.py`, which calls a torn line a fault and changes nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_journal(path: Path) -> list[Any]:
    """The values of all whole lines, in order; none where there is no file. A line that is being written is not there yet."""
    return [json.loads(line) for line in _whole(path).split(b"\n") if line]


def reopened(path: Path) -> list[Any]:
    """The same, for whoever goes on writing: what is not whole is cut off, so that the next line is one of its own."""
    whole = _whole(path)
    if path.is_file():
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.split(b"\n") if line]


def _whole(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]
