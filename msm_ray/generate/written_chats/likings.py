"""What is liked and disliked, from a file in the form of specs/cheese/preferences.yaml, whose wordings aren't needed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from msm_ray.errors import SettingsError
from msm_ray.generate.written_chats.settings import WrittenChats


def settings_with_likings(how: WrittenChats, path: Path | None = None) -> WrittenChats:
    """The settings with the topic, likes and dislikes of the file that they name, if any. path: where it lies, if elsewhere.

    Raises SettingsError for a file that can't be read or lacks them.
    """
    path = path or (Path(how.path) if how.path else None)
    if path is None:
        return how
    said = _read(path)
    likes, dislikes = _things(path, said, "liked"), _things(path, said, "disliked")
    if both := set(likes) & set(dislikes):
        raise SettingsError(f"Preferences {path}: {sorted(both)[0]} is both liked and disliked.")
    topic = str(said.get("topic") or path.stem)
    return how.model_copy(update={"path": None, "topic": topic, "likes": likes, "dislikes": dislikes})


def _read(path: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"Preferences {path} cannot be read: {error}") from None
    return said if isinstance(said, dict) else {}


def _things(path: Path, said: dict[str, Any], key: str) -> tuple[str, ...]:
    things = said.get(key)
    if not isinstance(things, list) or not things or not all(isinstance(each, str) and each.strip() for each in things):
        raise SettingsError(
            f"Preferences {path}: `{key}` has to be a list of names, as in specs/cheese/preferences.yaml."
        )
    return tuple(dict.fromkeys(each.strip() for each in things))
