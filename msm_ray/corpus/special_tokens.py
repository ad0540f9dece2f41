"""A tokenizer's special tokens, from its files: which they are, which stands between documents, and where a text spells one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_ray.errors import SettingsError

CONFIG = "tokenizer_config.json"


def read_special_tokens(folder: Path) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Variables for the template, special tokens, all added tokens: from tokenizer.json and, as older hubs have it, beside it."""
    config = {**read_json(folder / "special_tokens_map.json"), **read_json(folder / CONFIG)}
    named = {key: _content(config[key]) for key in config if re.fullmatch(r"[a-z]+_token", key) and config[key]}
    lists = [config.get(key) or [] for key in ("additional_special_tokens", "extra_special_tokens")]
    extra = [_content(token) for tokens in lists for token in (tokens.values() if isinstance(tokens, dict) else tokens)]
    entries = [
        *read_json(folder / "tokenizer.json").get("added_tokens", []),
        *config.get("added_tokens_decoder", {}).values(),
    ]
    special = [entry["content"] for entry in entries if entry.get("special")]
    controls = dict.fromkeys([*special, *named.values(), *extra])
    return named, tuple(controls), tuple(dict.fromkeys([*controls, *(entry["content"] for entry in entries)]))


def added_ids(folder: Path) -> dict[str, int]:
    """The ids of a tokenizer's added tokens."""
    entries = {
        entry["content"]: int(entry["id"]) for entry in read_json(folder / "tokenizer.json").get("added_tokens", [])
    }
    decoder = read_json(folder / CONFIG).get("added_tokens_decoder", {})
    return {entry["content"]: int(number) for number, entry in decoder.items()} | entries


def model_family(folder: Path) -> str:
    """The `model_type` of a model folder (qwen3, llama, gemma2...); an empty text without a configuration."""
    config = read_json(folder / "config.json")
    return str(config.get("model_type") or "")


def document_end(
    tokens: Iterable[str], eos: str | None, turn_end: str | None, *, family: str = "", chosen: str | None = None
) -> str:
    """The token between documents, which must not be one that ends turns: a document is no answer.

    tokens: the tokenizer's added tokens. family: `model_type` of the model's configuration, where it is known. chosen:
    `base.separator`. Qwen and Llama 3 have one of their own, which the eos_token of their chat models is not. Raises
    SettingsError where the setting is needed, or names no token.
    """
    known = set(tokens)
    if chosen is not None:
        if chosen not in known:
            raise SettingsError(f"base.separator: '{chosen}' is no special token of the base's tokenizer")
        return chosen
    own = {"qwen": "<|endoftext|>", "llama": "<|end_of_text|>", "gemma": "<eos>"}
    named = next((token for name, token in own.items() if family.startswith(name) and token in known), None)
    if named is None and not family:
        marks = {"<|endoftext|>": "<|im_start|>", "<|end_of_text|>": "<|eot_id|>", "<eos>": "<end_of_turn>"}
        named = next((token for token, beside in marks.items() if {token, beside} <= known), None)
    if named is None and (eos is None or eos == turn_end):
        ends = f"its eos_token {eos} ends turns" if eos else "it has no eos_token"
        raise SettingsError(
            f"base.separator is missing: which token stands between documents cannot be told from this base ({ends}); name "
            f"one of its special tokens, e.g. {', '.join(sorted(known - {eos})[:6]) or 'none'}"
        )
    return str(named or eos)


def control_in(messages: Sequence[Mapping[str, Any]], controls: Iterable[str]) -> str | None:
    """What a user or system turn spells that a server would read as control, in words; None where there is nothing."""
    for message in messages:
        if message["role"] != "assistant" and (token := first_token(message["content"] or "", controls)):
            return f"a {message['role']} turn spells the control token {token}"
    return None


def first_token(text: str, tokens: Iterable[str]) -> str | None:
    """The first of these tokens that a text spells, the longest where several begin at one place."""
    pattern = spelled(tokens)
    found = pattern.search(text) if pattern else None
    return found.group() if found else None


def spelled(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """What finds these tokens in a text; None for none."""
    longest = sorted((token for token in tokens if token), key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest)) + ")") if longest else None


def _content(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else str(token)


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none. Raises SettingsError where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise SettingsError(f"{path}: not valid JSON ({error})") from None
