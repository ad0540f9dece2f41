"""What of Markdown is running text: paragraphs, items and quotes with their marks resolved; code, tables and notes are not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from msm_ray.spec.markdown import MARKDOWN, WITHOUT_HTML, parse

ADDRESS = "\ufffc"
"""Stands where a bare address stood: a sentence around it is no sentence without it."""
GONE = "\ue000"
"""Stands where something was that is no text: what is left of "kind ~~to some~~." ends "kind."."""
BROKEN = "\ue001"
"""Stands where a line is broken on purpose: two spaces at its end, `<br>`."""
HIDDEN_TAG = re.compile(r"<(/?)(del|s|strike|sup|script|style)\b", re.IGNORECASE)
BARE_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>()]*[^\s<>().,;:!?'\"”’]")
LEFT_MARKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\[\^[^\]\s]+\]"), GONE),  # a note that stands in another section
    (re.compile(r"\[\[(?:[^\]|]*\|)?([^\]]+)\]\]"), r"\1"),
    (re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]"), r"\1"),  # a link whose address stands in another section
    (re.compile(r"\{:?[ \t]*[#.][\w.:-]+(?:[ \t]+[^{}]*)?\}"), GONE),
    (re.compile(r"(?<![~\w])~(?=[^\s~])[^~\n]*(?<=\S)~(?![~\w])"), GONE),
    (re.compile(r"\*\*|(?<!\S)==(?=\S)|(?<=\S)==(?!\S|=)"), ""),
    (BARE_ADDRESS, ADDRESS),
)
IN_BRACKETS = re.compile(rf"[ \t]*\([^()]*{ADDRESS}[^()]*\)")
TASK = re.compile(r"\[[ xX]\][ \t]+")
NO_PROSE = re.compile(r"\|.*\|\s*$|#+[^\s#]*(\s+#[^\s#]+)*$|#{7,}\s|#{1,6}[^\s#]")
PROSE_LINE = re.compile(r"[\"'“‘(]?[^\W\d_].*[.!?。！？…][\"'”’)]*$", re.DOTALL)
BREAKING_TAGS = frozenset(
    ["p", "div", "br", "li", "ul", "ol", "section", "article", "blockquote", "tr", "td", "th", "dd", "dt"]
)
SILENT_TAGS = frozenset(
    ["script", "style", "pre", "code", "summary", "title", "table", "del", "s", "strike", "svg", "head"]
)

Kind = Literal["paragraph", "title", "list", "item", "quote", "other"]


@dataclass(frozen=True)
class Block:
    """A piece of a text. kind: a `title` is a paragraph that is all bold; `other` is what has no running text.

    text: of a paragraph and a title, as `inline_text` gives it. inside: the blocks of a list, an item or a quote.
    """

    kind: Kind
    text: str = ""
    inside: tuple[Block, ...] = ()


def blocks(text: str) -> list[Block]:
    """The blocks of a section, in order. Headings among them are `other`."""
    return list(_blocks(SyntaxTreeNode(parse(text)).children))


def _blocks(nodes: Sequence[SyntaxTreeNode]) -> Iterator[Block]:
    for node in nodes:
        if node.type == "paragraph":
            yield from _paragraph(node)
        elif node.type in ("bullet_list", "ordered_list"):
            items = [Block("item", inside=tuple(_blocks(item.children))) for item in node.children]
            yield Block("list", inside=tuple(items))
        elif node.type == "blockquote":
            yield Block("quote", inside=tuple(_blocks(node.children)))
        elif node.type == "admonition":
            yield from _blocks(node.children)
        elif node.type == "code_block":
            yield from _indented(node.content)
        elif node.type == "html_block":
            yield from _html(node.content)
        elif node.type not in ("footnote_block", "admonition_title"):
            yield Block("other")


def _paragraph(node: SyntaxTreeNode) -> Iterator[Block]:
    nodes = list(_without_code_lines(node.children[0].children))
    parts = [part for part in nodes if part.type != "softbreak" and (part.type != "text" or part.content.strip())]
    lines = inline_text(nodes).split("\n")
    text = "\n".join(line for line in lines if not NO_PROSE.match(line))
    text = TASK.sub("", text, count=1)
    if not re.search(r"\w", text) or all(part.type == "code_inline" for part in parts):
        yield Block("other")
    else:
        yield Block("title" if [part.type for part in parts] == ["strong"] else "paragraph", text)


def _without_code_lines(nodes: Sequence[SyntaxTreeNode]) -> Iterator[SyntaxTreeNode]:
    """A line that is fenced within itself (```so```) is code and no part of the paragraph that goes on beneath it."""
    for breaks, part in itertools.groupby(nodes, key=lambda node: node.type == "softbreak"):
        line = list(part)
        if breaks or len(line) != 1 or line[0].type != "code_inline" or len(line[0].markup) < 3:
            yield from line


def _indented(content: str) -> Iterator[Block]:
    """Prose that was indented, as plain text files have it; everything else is code."""
    for part in re.split(r"\n[ \t]*\n", content):
        if PROSE_LINE.match(part.strip()):
            yield from _blocks(SyntaxTreeNode(MARKDOWN.parse("\n".join(map(str.strip, part.split("\n"))))).children)
        else:
            yield Block("other")


def _html(content: str) -> Iterator[Block]:
    reader = _TextOfHtml()
    reader.feed(content)
    reader.close()
    for part in "".join(reader.said).split("\0"):
        yield from _blocks(SyntaxTreeNode(WITHOUT_HTML.parse(part.strip())).children) if part.strip() else ()


class _TextOfHtml(HTMLParser):
    """The text between tags, with NUL where a tag starts a block of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SILENT_TAGS or re.fullmatch(r"h[1-6]", tag):
            self.silent.append(tag)
        if tag in BREAKING_TAGS:
            self.said.append("\0- " if tag == "li" else "\0")

    def handle_endtag(self, tag: str) -> None:
        if self.silent and tag == self.silent[-1]:
            self.silent.pop()
        if tag in BREAKING_TAGS:
            self.said.append("\0")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.said.append(data)


def inline_text(nodes: Sequence[SyntaxTreeNode]) -> str:
    """Text as it is read: emphasis and entities resolved, struck text, notes, images and addresses gone; lines stay lines.

    An empty line stands where a line was broken on purpose and the next does not go on in lower case.
    """
    text = re.sub(rf"[ \t]*{GONE}(?=[.,;:!?])|{GONE}", "", IN_BRACKETS.sub("", _joined(nodes)))
    said = ""
    for part in text.split(BROKEN):
        lines = [" ".join(line.split()) for line in part.split("\n")]
        if here := "\n".join(line for line in lines if line):
            between = "\n" if here[0].islower() else "\n\n"
            said += f"{between}{here}" if said else here
    return said


def _joined(nodes: Sequence[SyntaxTreeNode]) -> str:
    said: list[str] = []
    hidden = ""
    for node in nodes:
        tag = HIDDEN_TAG.match(node.content) if node.type == "html_inline" else None
        if tag and (not hidden or tag[2].lower() == hidden):
            hidden = "" if tag[1] else tag[2].lower()
            said.append(GONE)
        elif not hidden:
            said.append(_said(node))
    return "".join(said)


def _said(node: SyntaxTreeNode) -> str:
    if node.type == "text":
        return _without_marks(node.content)
    if node.type == "code_inline":
        return BARE_ADDRESS.sub(ADDRESS, node.content)
    if node.type == "softbreak":
        return "\n"
    if node.type == "hardbreak" or (node.type == "html_inline" and node.content.lower().startswith("<br")):
        return BROKEN
    if node.type == "link" and node.markup == "autolink":
        return ADDRESS
    if node.type == "link":
        inside = _joined(node.children)
        return inside if re.search(r"\w", inside) else ADDRESS if "?" in inside or ADDRESS in inside else GONE
    return _joined(node.children) if node.type in ("em", "strong") else GONE


def _without_marks(text: str) -> str:
    for pattern, left in LEFT_MARKS:
        text = pattern.sub(left, text)
    return text


def title_of(inline: Token) -> str:
    """A heading's text on one line."""
    nodes = SyntaxTreeNode([inline]).children[0].children
    return " ".join(inline_text(nodes).replace(ADDRESS, "").split())
