"""A spec cut at its headings, or without any at its paragraphs. A section's text is a piece of the source, letter for letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it.token import Token

from msm_ray.spec.markdown import parse, structure
from msm_ray.spec.prose import Block, blocks, title_of


@dataclass(frozen=True)
class Section:
    """A piece of a spec: the headings above it, outermost first (empty before the first heading), and its own text.

    headed: false where the spec has no headings and `path` is made of the text's own first words.
    """

    path: tuple[str, ...]
    text: str
    headed: bool = True


def split_sections(text: str) -> tuple[Section, ...]:
    """Sections with text of their own, in order. A text without headings gives one section a paragraph, list or quote."""
    tokens, lines, meant = parse(text), text.split("\n"), structure(text).split("\n")
    heads = list(_headings(tokens))
    if not heads:
        return _paragraphs(tokens, lines, meant)
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    starts = [(0, 0, 0, ""), *heads]
    ends = [first for first, *_ in heads] + [len(lines)]
    for (_, start, level, title), end in zip(starts, ends, strict=True):
        if level:
            path = [*(step for step in path if step[0] < level), (level, title)]
        if re.search(r"\w", "".join(meant[start:end])):
            own = "\n".join(lines[start:end]).strip()
            sections.append(Section(tuple(title for _, title in path), own))
    return tuple(sections)


def _headings(tokens: list[Token]) -> Iterator[tuple[int, int, int, str]]:
    """(its first line, the line after it, level, title) of each heading that stands in no list or quote."""
    for token, inline in zip(tokens, tokens[1:], strict=False):
        if token.type == "heading_open" and token.level == 0 and token.map and (title := title_of(inline)):
            yield token.map[0], token.map[1], int(token.tag[1]), title


def _paragraphs(tokens: list[Token], lines: list[str], meant: list[str]) -> tuple[Section, ...]:
    """Pieces of source with running text; what has none, as a table, stays with the piece before it."""
    pieces: list[str] = []
    before = ""
    for start, end in _pieces(tokens, meant):
        piece = before + "\n".join(lines[start:end])
        before = ""
        if next(_texts(blocks(piece)), ""):
            pieces.append(piece)
        elif pieces:
            pieces[-1] += f"\n{piece}"
        else:
            before = f"{piece}\n"
    return tuple(
        Section((_title(piece.strip()),), piece.strip(), headed=False) for piece in pieces or [before] if piece.strip()
    )


def _pieces(tokens: list[Token], lines: list[str]) -> list[tuple[int, int]]:
    """Lines of each piece: blocks that stand apart, items too where an empty line parts them. A lead stays with its list."""
    cuts, led = {0}, False
    for token in tokens:
        if not token.map or token.nesting < 0 or token.level > 1:
            continue
        start = token.map[0]
        apart = start > 0 and not lines[start - 1].strip()
        if token.level == 0:
            led = _is_led(lines[:start])
        if apart and not led and (token.level == 0 or token.type == "list_item_open"):
            cuts.add(start)
    return list(zip(sorted(cuts), [*sorted(cuts)[1:], len(lines)], strict=True))


def _is_led(before: list[str]) -> bool:
    """Whether something has to follow what stands before: a lead, a line in bold, "the following"."""
    line = next((line.strip() for line in reversed(before) if line.strip()), ".")
    bold = re.fullmatch(r"(\*\*|__).*(\*\*|__):?", line)
    return bool(bold or line.rstrip(" *_").endswith((":", "：")) or re.search(r"\b(following|below)\b", line))


def _title(piece: str) -> str:
    """Its first six words."""
    said = next(_texts(blocks(piece)), piece)
    return " ".join(said.split()[:6]).rstrip(".,;:!?") or piece[:40]


def _texts(parts: list[Block] | tuple[Block, ...]) -> Iterator[str]:
    for part in parts:
        if part.text:
            yield part.text
        yield from _texts(part.inside)


def section_names(sections: tuple[Section, ...]) -> list[tuple[str, str]]:
    """(domain, subdomain) of each section. A title that stands above every section names the spec and is no domain."""
    paths = [section.path for section in sections]
    first = paths[0][0] if paths and paths[0] else None
    shared = first is not None and len(paths) > 1 and all(path and path[0] == first for path in paths)
    names: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for path in paths:
        steps = path[1:] if shared and len(path) > 1 else path or ("Introduction",)
        name = steps[-1]
        seen[name] = seen.get(name, 0) + 1
        names.append((steps[0], name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return names
