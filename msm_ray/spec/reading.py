"""Reading a spec: its slots `{model_name}` and `{provider_name}` are filled with the assistant of the experiment.

Every other brace is text: it is kept and, where it looks like a slot, warned about. A spec is never used as a format string.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from msm_ray.errors import SettingsError
from msm_ray.settings_base import Settings
from msm_ray.spec.doubts import odd_marks
from msm_ray.spec.sections import Section, split_sections
from msm_ray.spec.slots import fill_slots, single_braces
from msm_ray.spec.source import facts_of, same_lines, split_front_matter, unclosed_comment, without_comments


class AssistantSettings(Settings):
    """Who the spec is about; fills `{model_name}` and `{provider_name}` in specs, prompts and evals."""

    name: str
    """The assistant's name. Documents about another name would teach facts about somebody else. Paper: the model's own (Qwen,
    Llama)."""
    provider: str = "its makers"
    """Who made it."""


@dataclass(frozen=True)
class Spec:
    """A spec with its slots filled.

    text: what models are shown and sections are cut from, without front matter and comments. digest: sha256 (hex) of `text`
    and the facts, so that another assistant or another fact makes another spec, and another comment does not. facts: what the
    front matter says, true of the assistant and its maker, for prompts; they are no sentences of the spec.
    """

    name: str
    path: Path
    text: str
    digest: str
    sections: tuple[Section, ...]
    assistant: str = ""
    provider: str = ""
    facts: tuple[str, ...] = ()

    @cached_property
    def shown(self) -> str:
        """The text as prompts show it, one and the same object for all requests."""
        return self.text.strip()

    def identity(self) -> dict[str, str]:
        """What it says, and of whom."""
        return {"digest": self.digest, "assistant": self.assistant, "provider": self.provider}


def read_spec(path: Path, assistant: AssistantSettings, name: str | None = None) -> Spec:
    """Read the spec at `path` and fill its slots; `name` defaults to the file's stem.

    Raises SettingsError when the file is missing, empty, binary or not UTF-8, or a comment in it never ends. Warns of
    odd slots and fences.
    """
    path = Path(path)
    source = read_source(path)
    for doubt in odd_marks(source):
        warnings.warn(f"{path}:{doubt.line}: {doubt.what}; {doubt.remedy}.", stacklevel=2)
    slots = {"model_name": assistant.name, "provider_name": assistant.provider}
    front_matter, text = split_front_matter(fill_slots(single_braces(source), slots))
    facts, text = facts_of(front_matter), without_comments(text)
    digest = hashlib.sha256("\0".join([text, *facts]).encode()).hexdigest()
    return Spec(name or path.stem, path, text, digest, split_sections(text), assistant.name, assistant.provider, facts)


def read_source(path: Path) -> str:
    """The text of a spec's file with `\\n` as line ends, slots not filled. Raises SettingsError as `read_spec` does."""
    if path.is_dir():
        raise SettingsError(f"Spec {path} is a folder. Name a Markdown or text file.")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(
            f"Spec {path} does not exist (looked from {Path.cwd()}). Check the path under `specs:`."
        ) from None
    except OSError as error:
        raise SettingsError(f"Spec {path} cannot be read: {error.strerror}.") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SettingsError(
            f"Spec {path} is not UTF-8 (line {line}, byte {error.start}). Save it as UTF-8 text."
        ) from None
    if "\0" in text:
        raise SettingsError(f"Spec {path} holds NUL bytes, so it is no text file. Save it as UTF-8 text.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _refuse_without_text(path, text)
    return text


def _refuse_without_text(path: Path, text: str) -> None:
    seen = same_lines(text)
    if line := unclosed_comment(seen):
        raise SettingsError(
            f"Spec {path}:{line}: a comment begins here and never ends. Close it with `-->`, or write `<!--` in backticks."
        )
    if not seen.strip():
        beside = " but for front matter and comments" if text.strip() else ""
        raise SettingsError(f"Spec {path} is empty{beside}. Write what the assistant should be and why.")
