"""Specs as markdown-it reads them, with what people put into Markdown beside CommonMark: tags, alerts, admonitions, bullets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.admon import admon_plugin
from mdit_py_plugins.attrs import attrs_block_plugin, attrs_plugin
from mdit_py_plugins.footnote import footnote_plugin

MARKDOWN = (
    MarkdownIt("commonmark")
    .enable(["table", "strikethrough"])
    .use(footnote_plugin)
    .use(admon_plugin)
    .use(attrs_plugin)
    .use(attrs_block_plugin)
)
WITHOUT_HTML = MarkdownIt("commonmark", {"html": False}).enable("strikethrough")
"""For text that was taken out of HTML: what looks like a tag there is none."""
TAG = r"</?[A-Za-z][\w.-]*(?:\s[^<>]*)?/?>"
NO_TEXT_OF_THE_SPEC = (
    r"summary|title|table|svg|user|human|assistant|system|developer|tool|examples?|dialogue|conversation|comparison|"
    r"(?:bad|good|wrong|right|poor)[\w.-]*"
)
"""Tags around titles, and around what somebody says in an example."""

Change = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _only_lines(found: re.Match[str]) -> str:
    return "\n" * found.group().count("\n")


CHANGES: tuple[Change, ...] = (
    (
        re.compile(
            rf"(?:(?<=^)|(?<=>))[ \t]*<({NO_TEXT_OF_THE_SPEC})\b[^<>]*>.*?</\1\s*>",
            re.DOTALL | re.MULTILINE | re.IGNORECASE,
        ),
        _only_lines,
    ),
    (
        re.compile(r"^[ \t]*<h([1-6])\b[^<>]*>(.*)</h\1>[ \t]*$", re.MULTILINE | re.IGNORECASE),
        lambda found: f"{'#' * int(found[1])} {found[2]}",
    ),
    (re.compile(rf"^[ \t]*(?!<(?:pre|script|style|textarea|table|svg)\b)(?:{TAG}[ \t]*)+$", re.MULTILINE), _only_lines),
    (re.compile(r"^([ \t]*>[ \t]*)\[!\w+\].*$", re.MULTILINE), lambda found: found[1]),  # GitHub's `> [!NOTE]`
    (re.compile(r"^[ \t]*:{3,}.*$", re.MULTILINE), _only_lines),  # Pandoc's `::: note`
    (re.compile(r"^([ \t]*)[•‣◦▪●○](?=[ \t])", re.MULTILINE), lambda found: f"{found[1]}-"),
)


def parse(text: str) -> list[Token]:
    """The tokens of a spec without comments. Their `map` counts the lines of `text`, from 0."""
    return MARKDOWN.parse(structure(text))


def structure(text: str) -> str:
    """The text as it is meant: lines that are nothing but tags are empty, HTML headings are headings. As many lines."""
    for pattern, change in CHANGES:
        if pattern.search(text):
            text = _outside_code(text, pattern, change)
    return _without_rules(text)


def _without_rules(text: str) -> str:
    """A rule right beneath a paragraph makes a heading of it in Markdown, and is meant as a rule where that is a sentence."""
    lines = text.split("\n")
    for token in MARKDOWN.parse(text):
        if token.type == "heading_open" and token.markup in "-=" and token.map:
            *said, underline = [line.strip() for line in lines[token.map[0] : token.map[1]] if line.strip()]
            if len(said) > 1 or (token.markup == "-" and (said[0].endswith(".") or len(underline) < 2)):
                lines[token.map[1] - 1] = ""
    return "\n".join(lines)


def _outside_code(text: str, pattern: re.Pattern[str], change: Callable[[re.Match[str]], str]) -> str:
    code = code_lines(MARKDOWN.parse(text))

    def changed(found: re.Match[str]) -> str:
        line = text.count("\n", 0, found.start())
        return found.group() if any(first <= line < last for first, last in code) else change(found)

    return pattern.sub(changed, text)


def code_lines(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """(first, behind the last) line of each fenced block. What is merely indented may be prose, see `prose`."""
    return [(token.map[0], token.map[1]) for token in tokens if token.type == "fence" and token.map]


def unclosed_fence(text: str) -> int | None:
    """The line, from 1, of a fence that nothing closes, so that all that follows it is code."""
    lines = text.split("\n")
    for token in parse(text):
        if token.type == "fence" and token.map:
            last = lines[min(token.map[1], len(lines)) - 1].strip(" \t>")
            closed = (
                token.map[1] - token.map[0] > 1 and last.startswith(token.markup) and not last.strip(token.markup[0])
            )
            if not closed:
                return token.map[0] + 1
    return None
