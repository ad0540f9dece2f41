"""What of a spec's file is text: front matter gives facts, comments are taken out, and models are shown the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from msm_ray.spec.markdown import MARKDOWN, code_lines

FRONT_MATTER = re.compile(r"\A\s*?---[ \t]*\n(.*?)(?<=\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
ENTRY = re.compile(r"([A-Za-z_][\w .-]*):(?:[ \t]+(.*))?$")
SKIPPED_OR_COMMENT = re.compile(
    r"\\`"
    r"|(?P<ticks>(?<!`)`+(?!`))(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`)"  # a code span, within its paragraph
    r"|(?P<comment><!--(?:-?>|.*?-->))"
    r"|(?P<link>^ {0,3}\[(?://|comment|_)\]:[ \t]+(?:#|<>)[^\n]*$)",  # how Markdown without HTML writes comments
    re.DOTALL | re.MULTILINE,
)
OPENED = re.compile(r"<!--")


def split_front_matter(text: str) -> tuple[str, str]:
    """(front matter, the text after it). A text between two rules that is no `key: value` is no front matter."""
    found = FRONT_MATTER.match(text)
    if found and (not found.group(1).strip() or _entries(found.group(1))):
        return found.group(1), text[found.end() :]
    return "", text


def facts_of(front_matter: str) -> tuple[str, ...]:
    """Its facts in order: each entry of a list `facts`, word for word; every other entry as `key: value`."""
    facts: list[str] = []
    for key, value in _entries(front_matter).items():
        if key.lower() == "facts":
            facts += [_said(each) for each in (value if isinstance(value, list) else [value])]
        elif said := _said(value):
            facts.append(f"{key}: {said}")
    return tuple(fact for fact in facts if fact)


def _entries(front_matter: str) -> dict[str, Any]:
    """YAML with every scalar as it is written; or its lines, where `description: Use it when: always` makes it no YAML."""
    try:
        read = yaml.load(front_matter, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return _entries_by_line(front_matter)
    return read if isinstance(read, dict) else {}


def _entries_by_line(front_matter: str) -> dict[str, Any]:
    """`key: value`, with what is indented or begins with a dash beneath; nothing where another line stands among them."""
    found: dict[str, list[str]] = {}
    for line in front_matter.split("\n"):
        entry, text = ENTRY.match(line), line.strip()
        if entry:
            found[entry[1]] = said = [entry[2] or ""]
        elif found and text.startswith("- "):
            said.append(text[2:])
        elif found and line.startswith((" ", "\t")):
            said[-1] = f"{said[-1]} {text}"
        elif text and not text.startswith("#"):
            return {}
    return {key: [each for each in said if each] if len(said) > 1 else said[0] for key, said in found.items()}


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {said}" for key, each in value.items() if (said := _said(each)))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_said, value)))
    return " ".join(str(value).split())


def without_comments(text: str) -> str:
    """The text without comments. One with lines of its own leaves at most an empty line, so that paragraphs stay apart."""
    for start, end in reversed(comments(text)):
        before, after = text[:start], text[end:]
        if before.endswith((" ", "\t")) and after[:1] in (" ", "\t", "\n", ""):
            before = before.rstrip(" \t")
        elif before.endswith("\n") or not before:
            after = after[1:] if re.match(r" \S", after) else after
        alone = (not before or before.endswith("\n")) and after.lstrip(" \t")[:1] in ("\n", "")
        if alone and (not before or before.endswith("\n\n")):
            after = after.lstrip(" \t")[1:]
        text = before + after
    return text


def comments(text: str) -> list[tuple[int, int]]:
    """Where comments start and end; what stands in code is none."""
    found: list[tuple[int, int]] = []
    while True:
        new = list(_comments_before_code(text))
        found += new
        if not new:
            return found
        for start, end in new:  # what a comment holds may have looked like code: without it, code is elsewhere
            text = text[:start] + blank(text[start:end]) + text[end:]


def _comments_before_code(text: str) -> Iterator[tuple[int, int]]:
    """The comments up to the first that reaches into what looks like a block of code."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    code = sorted((starts[first], starts[last]) for first, last in code_lines(MARKDOWN.parse(text)))
    place = 0
    while match := SKIPPED_OR_COMMENT.search(text, place):
        within = next((end for start, end in code if start <= match.start() < end), None)
        if within is not None:
            place = within
            continue
        place = match.end()
        if match["comment"] or match["link"]:
            yield match.span()
            if any(match.start() < start < match.end() for start, _ in code):
                return


def blank(text: str) -> str:
    """As many lines, with nothing on them."""
    return re.sub(r"[^\n]", " ", text)


def same_lines(text: str) -> str:
    """The text with front matter and comments blanked, every line in its place; for messages that name lines."""
    rest = split_front_matter(text)[1]
    head = text[: len(text) - len(rest)]
    for start, end in comments(rest):
        rest = rest[:start] + blank(rest[start:end]) + rest[end:]
    return blank(head) + rest


def unclosed_comment(text: str) -> int | None:
    """The line, from 1, of a `<!--` outside code that no `-->` follows. `text`: as `same_lines` gives it."""
    masked = text.split("\n")
    for first, last in code_lines(MARKDOWN.parse(text)):
        masked[first:last] = [""] * (last - first)
    left = SKIPPED_OR_COMMENT.sub(lambda found: blank(found.group()), "\n".join(masked))
    found = OPENED.search(left)
    return left.count("\n", 0, found.start()) + 1 if found else None
