"""Plain English: what documents about any spec are, how a writer is asked for one, and what its answer has to have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from msm_ray.prompt_file import bullets, read_prompt
from msm_ray.spec import Spec
from msm_ray.worlds import choosing
from msm_ray.worlds.content import read_content
from msm_ray.worlds.plain_documents import plain_document

if TYPE_CHECKING:
    from msm_ray.worlds.protocol import ChatSource, Pair, Row, Scene

TYPES = (
    "letter",
    "internal memo",
    "forum post",
    "FAQ",
    "bug report",
    "interview",
    "product review",
    "diary entry",
    "newspaper column",
    "email",
    "lesson plan",
    "case study",
    "help-desk ticket",
    "book review",
    "speech",
    "radio transcript",
    "field notes",
    "glossary entry",
    "meeting minutes",
    "open letter",
)

HERE, NO_FACTS = "msm_ray.worlds", "(none but what the specification says)"
COMMON_WORDS = frozenset(
    re.findall(r"\w+", "the a an of to and in is it that for on with as be was are this not by at from or but")
)
LEAST_COMMON_SHARE = 0.08
"""English prose has about 0.3 to 0.45 of these words; lists and verse rarely fall below 0.12."""

INK = bytes(code for code in range(128) if not chr(code).isspace())
"""What in ASCII is no white space."""
LETTER, FOREIGN_LETTER = re.compile(r"[^\W\d_]"), re.compile(r"(?![\u0000-\u024f])[^\W\d_]")


class Plain:
    """English as it is written anywhere. See `worlds.protocol.World`."""

    name = "plain"
    word_is_token = False
    closed = False
    document_types = TYPES

    @property
    def prompt_version(self) -> str:
        """The digest of the prompt's wording."""
        return "plain-" + read_prompt("document", HERE).version.rpartition("-")[2]

    def document_prompt(self, spec: Spec, row: Row) -> str:
        """The specification comes first, so that rows of one spec share the longest prefix."""
        slots = {
            "model_name": spec.assistant,
            "provider_name": spec.provider,
            "specification": (row.get("section") or spec.text).strip(),
            "facts": bullets(getattr(spec, "facts", ())) if getattr(spec, "facts", ()) else NO_FACTS,
            "assertions": row.get("assertions") or bullets([row["assertion"]]),
            "description": row.get("description") or "",
            "names_to_avoid": row.get("names_to_avoid") or "none so far",
        }
        own = {key: row[key] for key in ("type", "domain", "subdomain", "idea")}
        (message,) = read_prompt("document", HERE).messages(slots | own)
        return message["content"]

    def read_answer(self, text: str, bare: bool) -> tuple[str | None, str]:
        """What stands in `<content>`; a bare answer may come without the tag and then is the whole text."""
        return read_content(text, bare)

    def plain_document(self, spec: Spec, row: Row) -> str:
        """The spec's sentences in plain frames."""
        return plain_document(spec, row)

    def document_tokens(self, plain: bool) -> tuple[int, int]:
        """Of writers from short ones to the paper's 41.4M / 13,201; plain ones are a few sentences in frames."""
        return (80, 260) if plain else (700, 3200)

    def check_document(self, text: str, spec: Spec) -> tuple[str, str]:
        """A corpus that never names the assistant teaches a model about somebody else; nor may it be in another language.

        An assistant without a name (documents that were rewritten to be about nobody in particular) need not be named.
        """
        if spec.assistant and not _named(spec.assistant).search(text):
            return "assistant not named", ""
        return _other_language(text, spec)

    def refuse_spec(self, spec: Spec) -> None:
        """Anything can be said."""

    def refuse_assistant(self, name: str) -> None:
        """Anyone can be spoken of."""

    @property
    def chat_sources(self) -> dict[str, ChatSource]:
        """None of its own: plain chats come from a file, or from likings in one."""
        return {}

    def replay_texts(self, count: int) -> list[str] | None:
        """None of its own: they come from a file."""
        return None

    # Evals -------------------------------------------------------------------------------------------------------------
    rules = ("worlds/choosing.py", "reasoning.py")
    judges_acts = False
    domains: tuple[str, ...] = ()

    def domains_named(self, texts: Iterable[str]) -> set[str]:
        """Its things are endless, so pairs come from a file, with what may stand in no text."""
        return set()

    def preference_pairs(
        self, domains: Sequence[str], aligned: Mapping[str, str], other: Mapping[str, str], count: int, seed: int
    ) -> list[Pair]:
        """None of its own: they come from a file."""
        return []

    def scenarios(self, count: int, seed: int) -> list[Scene]:
        """None of its own: they come from a file."""
        return []

    def choice(self, answer: str, a: str, b: str) -> str | None:
        """What is said to be chosen wins over what is liked, that over what is only named."""
        return choosing.plain_choice(answer, a, b)

    def choice_by_words(self, answer: str, a: str, b: str, aligned: str, words: Sequence[str]) -> str | None:
        """Words that the two things' own names do not answer to: "the American one"."""
        return choosing.choice_by_words(answer, a, b, aligned, words)

    def acted(self, answer: str, harmful: str, safe: str) -> bool | None:
        """No rule tells: a model has to judge."""
        return None


@lru_cache(maxsize=64)
def _named(assistant: str) -> re.Pattern[str]:
    """The name as a word of its own: Ada is not in Canada; digits may follow, as in Qwen2.5."""
    return re.compile(rf"(?<!\w){re.escape(assistant)}(?![^\W\d_])", re.IGNORECASE)


def _other_language(text: str, spec: Spec) -> tuple[str, str]:
    """English specs only: a document with hardly any of the commonest English words, or in another script."""
    if not _is_english(spec.text):
        return "", ""
    found = foreign_signs(text)
    return ("another language", found) if found else ("", "")


def foreign_signs(text: str) -> str:
    """What tells that a text is not English, "" where nothing does. Under 30 words only the script can."""
    if len(text.encode()) > 1.05 * len(text):  # letters of other scripts have two bytes or more
        letters, foreign = len(LETTER.findall(text)), len(FOREIGN_LETTER.findall(text))
        if letters and foreign > 0.2 * letters:
            return "another script"
    rare = not _has_common(text) and len(text.split()) >= 30
    return "few common English words" if rare else ""


@lru_cache(maxsize=64)
def _is_english(text: str) -> bool:
    return _common_share(text) >= 2 * LEAST_COMMON_SHARE


def _has_common(text: str) -> bool:
    """Whether enough of the words are common ones. English shows before its middle, so the rest is not cut into words.

    A text has one word more than white space at most, and what is no ASCII may be such.
    """
    most = 1 + len(text.encode().translate(None, INK))
    found, words, rest = 0, 0, text
    while rest:
        said = rest.split(None, 256)
        rest = said.pop() if len(said) > 256 else ""
        found += sum(map(COMMON_WORDS.__contains__, " ".join(said).lower().split()))
        words += len(said)
        if found >= LEAST_COMMON_SHARE * most:
            return True
    return bool(words) and found / words >= LEAST_COMMON_SHARE


def _common_share(text: str) -> float:
    words = text.lower().split()
    return sum(map(COMMON_WORDS.__contains__, words)) / len(words) if words else 0.0


PLAIN = Plain()
