"""The words of a text, for comparing it with others: small letters, compatibility forms folded, without what stands between them.

Patterns over a whole text take most of the time of a check, so words are cut by translating bytes and splitting at spaces; the
patterns say what comes of it, and are what is used where a text has what bytes can't tell.
"""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
"""A word; in Chinese and Japanese a character."""
PLAIN_WORD = re.compile(r"\w+")
"""The same where next to nothing is written in such a script: runs of letters, digits and low lines."""
LETTERS = re.compile(r"[^\W\d_]+|#")

_ASCII = bytes(range(128))
_SPACED = bytes(code if code >= 128 or chr(code).isalnum() or chr(code) == "_" else 32 for code in range(256))
_LOOSE = bytes(
    code if code >= 128 or chr(code).isalpha() or chr(code) == "#" else 48 if chr(code).isdigit() else 32
    for code in range(256)
)
_NUMBER = re.compile(rb"0+")


def folded(text: str) -> str:
    """Small letters, compatibility forms folded."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def normalised(text: str) -> str:
    """The words of a text: small letters, compatibility forms folded, every number one sign, nothing between but spaces."""
    return loose(folded(text)).decode()


def loose(said: str) -> bytes:
    """The same of a folded text, as UTF-8."""
    others = _others(said)
    if any(sign.isdecimal() for sign in others):
        return " ".join(LETTERS.findall(re.sub(r"\d+", " # ", said))).encode()
    raw = _without_signs(said, others).encode().translate(_LOOSE)
    if b"#" in raw:
        raw = raw.replace(b"#", b" # ")
    if b"0" in raw:
        raw = _NUMBER.sub(b" # ", raw)
    while b"  " in raw:
        raw = raw.replace(b"  ", b" ")
    return raw.strip(b" ")


def words_of(said: str) -> list[str]:
    """The words of a folded text in their order."""
    others = _others(said)
    if len(said.encode()) >= 1.02 * len(said) and any(map(_is_character, others)):
        return WORD.findall(said)
    return _without_signs(said, others).encode().translate(_SPACED).decode().split()


def _others(said: str) -> set[str]:
    """The characters in a text that are not ASCII."""
    return set() if said.isascii() else set(said.encode().translate(None, _ASCII).decode())


def _is_character(sign: str) -> bool:
    return "\u3040" <= sign <= "\u30ff" or "\u3400" <= sign <= "\u9fff"


def _without_signs(said: str, others: set[str]) -> str:
    """Spaces in place of signs beyond ASCII that belong to no word: few different ones, each replaced in one go."""
    for sign in others:
        if not sign.isalnum():
            said = said.replace(sign, " ")
    return said
