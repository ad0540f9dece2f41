"""Text files that people bring: UTF-8, with or without a byte order mark.

A line ends at \\n, \\r\\n or \\r, and not at U+2028 and others at which `str.splitlines` cuts too: a question may hold them.
"""

from __future__ import annotations

from pathlib import Path

from msm_ray.errors import SettingsError


def read_text(path: str | Path) -> str:
    """The text without its byte order mark; line ends are \\n. Raises SettingsError where it is no UTF-8 or not there."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def read_questions(path: str | Path) -> list[str]:
    """One question a line; empty lines and lines that open with # are none. Raises SettingsError as `read_text` does."""
    lines = [line.strip() for line in read_text(path).split("\n")]
    return [line for line in lines if line and line[0] != "#"]
