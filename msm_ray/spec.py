"""A Model Spec: one text file that says who an assistant should be and why.

Slots `{model_name}` and `{provider_name}` are filled with the assistant of the experiment. Every other brace is text: it is
kept and, where it looks like a slot, warned about. A spec is never used as a format string.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from msm_ray.errors import SettingsError
from msm_ray.settings_base import Settings

HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*$")
UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})\s*$")
FENCE = re.compile(r"^ {0,3}(```|~~~)")
SLOT = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


class AssistantSettings(Settings):
    """Who the spec is about; fills `{model_name}` and `{provider_name}` in specs, prompts and evals."""

    name: str
    """The assistant's name. Documents about another name would teach facts about somebody else. Paper: the model's own (Qwen,
    Llama)."""
    provider: str = "its makers"
    """Who made it."""


@dataclass(frozen=True)
class Section:
    """A piece of a spec: the headings above it, outermost first (empty before the first heading), and its own text."""

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Spec:
    """A spec with its slots filled. digest: sha256 of `text` (hex), so that another assistant makes another spec."""

    name: str
    path: Path
    text: str
    digest: str
    sections: tuple[Section, ...]
    assistant: str = ""
    provider: str = ""

    def identity(self) -> dict[str, str]:
        """What it says, and of whom."""
        return {"digest": self.digest, "assistant": self.assistant, "provider": self.provider}


def read_spec(path: Path, assistant: AssistantSettings, name: str | None = None) -> Spec:
    """Read the spec at `path` and fill its slots; `name` defaults to the file's stem.

    Raises SettingsError when the file is missing, empty, binary or not UTF-8.
    """
    path = Path(path)
    text = _decode(path)
    filled = fill_slots(text, {"model_name": assistant.name, "provider_name": assistant.provider})
    for slot in sorted(set(SLOT.findall(text)) - {"{model_name}", "{provider_name}"}):
        warnings.warn(
            f"{path}: {slot} is not a slot (only {{model_name}} and {{provider_name}} are) and stays as text.",
            stacklevel=2,
        )
    digest = hashlib.sha256(filled.encode()).hexdigest()
    return Spec(name or path.stem, path, filled, digest, split_sections(filled), assistant.name, assistant.provider)


def _decode(path: Path) -> str:
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
    if not text.strip():
        raise SettingsError(f"Spec {path} is empty. Write what the assistant should be and why.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def fill_slots(text: str, values: dict[str, str]) -> str:
    """Replace each `{key}` of `values` in one pass; everything else, braces included, stays as it is."""
    slot = re.compile("|".join(re.escape("{" + key + "}") for key in values))
    return slot.sub(lambda match: values[match.group()[1:-1]], text)


def split_sections(text: str) -> tuple[Section, ...]:
    """Sections with text of their own, in order. A text without headings gives one section a paragraph."""
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    body: list[str] = []

    def close() -> None:
        own = "\n".join(body).strip()
        body.clear()
        if own:
            sections.append(Section(tuple(title for _, title in path), own))

    for line, heading in _lines_with_headings(text):
        if heading is None:
            body.append(line)
            continue
        close()
        level, title = heading
        path = [*(step for step in path if step[0] < level), (level, title)]
    close()
    return tuple(sections) if any(section.path for section in sections) else _paragraphs(text)


def _lines_with_headings(text: str) -> list[tuple[str, tuple[int, str] | None]]:
    """Each line with (level, title) where it is a Markdown heading; lines inside code fences never are."""
    result: list[tuple[str, tuple[int, str] | None]] = []
    fenced = False
    for line in text.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        found = None if fenced else HEADING.match(line)
        previous = result[-1] if result else ("", None)
        if found and found.group(2):
            result.append((line, (len(found.group(1)), found.group(2))))
        elif (
            not fenced
            and UNDERLINE.match(line)
            and previous[0].strip()
            and previous[1] is None
            and _starts_block(result)
        ):
            result[-1] = (previous[0], (1 if "=" in line else 2, previous[0].strip()))
        else:
            result.append((line, None))
    return result


def _starts_block(lines: list[tuple[str, tuple[int, str] | None]]) -> bool:
    """Whether the last line stands alone: an underlined paragraph of several lines is a rule, not a heading."""
    return len(lines) < 2 or not lines[-2][0].strip() or lines[-2][1] is not None


def _paragraphs(text: str) -> tuple[Section, ...]:
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    return tuple(Section((_title(paragraph),), paragraph) for paragraph in paragraphs)


def _title(paragraph: str) -> str:
    words = re.findall(r"[^\s#*_`]+", paragraph)
    return " ".join(words[:6]).rstrip(".,;:!?") or paragraph[:40]


def section_names(sections: tuple[Section, ...]) -> list[tuple[str, str]]:
    """(domain, subdomain) of each section. A title that stands above every section names the spec and is no domain."""
    paths = [section.path for section in sections]
    first = paths[0][0] if paths[0] else None
    shared = first is not None and len(paths) > 1 and all(path and path[0] == first for path in paths)
    names: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for path in paths:
        steps = path[1:] if shared and len(path) > 1 else path or ("Introduction",)
        name = steps[-1]
        seen[name] = seen.get(name, 0) + 1
        names.append((steps[0], name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return names
