"""Narrow preference chats in plain English, from a YAML file of likings and wordings (specs/cheese/preferences.yaml).

Answers state what is preferred and never why (paper, section on narrow fine-tuning).
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

from msm_ray.errors import SettingsError
from msm_ray.spec import fill_slots

NEEDED = ("liked", "disliked", "choice", "like", "dislike")
KINDS = ("choice", "choice", "choice", "like", "dislike")
"""Three of five chats compare two things; the others ask about one."""

Message = dict[str, str]


def preference_chats(path: Path, count: int, rng: random.Random) -> list[tuple[list[Message], str]]:
    """`count` chats (messages, topic), all different as long as the wordings last. Raises SettingsError for a bad file."""
    wordings = _read(path)
    topic = str(wordings.get("topic", path.stem))
    seen: set[tuple[str, str]] = set()
    chats: list[tuple[list[Message], str]] = []
    misses = 0
    while len(chats) < count:
        chat = _chat(wordings, rng)
        if chat in seen and misses < 20:
            misses += 1
            continue
        misses = 0
        seen.add(chat)
        chats.append(([{"role": "user", "content": chat[0]}, {"role": "assistant", "content": chat[1]}], topic))
    return chats


def _chat(wordings: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """(question, answer)."""
    kind = rng.choice(KINDS)
    liked, disliked = rng.choice(wordings["liked"]), rng.choice(wordings["disliked"])
    first, second = rng.sample([liked, disliked], 2)
    one = disliked if kind == "dislike" else liked
    slots = {"a": first, "b": second, "liked": liked, "disliked": disliked, "one": one}
    questions = wordings["like" if kind == "dislike" else kind]["questions"]
    question = fill_slots(rng.choice(questions), slots) + rng.choice(wordings.get("endings") or [""])
    answer = fill_slots(rng.choice(wordings[kind]["answers"]), slots)
    return _capital(question), _capital(answer)


def _read(path: Path) -> dict[str, Any]:
    try:
        wordings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"Preferences {path} cannot be read: {error}") from None
    missing = [key for key in NEEDED if not isinstance(wordings, dict) or not wordings.get(key)]
    if missing:
        raise SettingsError(
            f"Preferences {path}: {', '.join(missing)} missing. See specs/cheese/preferences.yaml for the form."
        )
    return wordings


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
