"""The keys of an address: in the environment, by the name of a variable, never in a file, a message or a log."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from msm_ray.engines.settings import EngineSettings
from msm_ray.errors import PreflightError

NONE_NEEDED = "none"
"""What is sent to a server that asks for no key."""


def read_keys(settings: EngineSettings) -> tuple[str, ...]:
    """The keys in the variable that `key_variable` names, separated by commas or white space, each once.

    Raises PreflightError where there is none, unless the address is on this machine.
    """
    keys = split_keys(os.environ.get(settings.key_variable, ""))
    local = urlsplit(settings.url or "").hostname in ("127.0.0.1", "localhost", "::1")
    if not keys and not local:
        raise PreflightError(
            f"{settings.url} needs a key: put it into the environment variable {settings.key_variable}."
        )
    return keys or (NONE_NEEDED,)


def split_keys(text: str) -> tuple[str, ...]:
    """Several keys in one text."""
    return tuple(dict.fromkeys(filter(None, re.split(r"[\s,]+", text))))


def without_keys(text: str, keys: Sequence[str]) -> str:
    """A message of a server that may have said a key back."""
    for key in sorted(keys, key=len, reverse=True):
        text = text.replace(key, "[key]") if key != NONE_NEEDED else text
    return text
