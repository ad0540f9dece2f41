"""JSONL of our own that grows while it is read, or that a kill may have cut off: a line a value, and only whole lines count.

What people bring is read by `files.py`, which calls a torn line a fault and changes nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from msm_ray.whole_files import lines_in


def read_journal(path: Path) -> list[Any]:
    """The values of all whole lines, in order; none where there is no file. A line that is being written is not there yet."""
    return [json.loads(line) for line in lines_in(path).split(b"\n") if line]


def reopened(path: Path) -> list[Any]:
    """The same, for whoever goes on writing: what is not whole is cut off, so that the next line is one of its own."""
    whole = lines_in(path)
    if isinstance(path, Path) and path.is_file():
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.split(b"\n") if line]
