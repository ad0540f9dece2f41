"""How things are set out on a terminal: titles, facts, texts. Nothing that a user or a model wrote is read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.text import Text

from msm_ray.look.words import plain
from msm_ray.terminal import plain_console

LONGEST = 4000
"""Characters of one text that are shown."""


class Page:
    """Prints to standard output, with colors on a terminal."""

    def __init__(self) -> None:
        self.console = plain_console()

    def title(self, text: str, rest: str = "") -> None:
        """The name of what is shown, and what is said of it."""
        self._print((plain(text), "bold"), (f"  {plain(rest)}", ""))

    def heading(self, text: str) -> None:
        """The start of a part."""
        self._print(("", ""))
        self._print((plain(text), "bold cyan"))

    def line(self, text: str, style: str = "") -> None:
        """One line."""
        self._print((plain(text), style))

    def facts(self, name: str, facts: Mapping[str, Any]) -> None:
        """`name: key value, key value`; nothing where there are none."""
        if facts:
            said = ", ".join(f"{key} {value}".rstrip() for key, value in facts.items())
            self._print((f"{name}: ", "bold"), (plain(said), ""))

    def text(self, text: str | None, head: str = "") -> None:
        """A text of others, indented, cut where it is very long. head: a dim line above it."""
        if head:
            self.line(head, "dim")
        whole = text or "(empty)"
        left = f" … and {len(whole) - LONGEST:,} characters more" if len(whole) > LONGEST else ""
        for line in (whole[:LONGEST] + left).split("\n"):
            self.line(f"  {line}")

    def spans(self, spans: Iterable[tuple[str, bool]]) -> None:
        """Parts of one text, each begun on a line of its own: those that are marked with `+` and in color, others with `·`."""
        for text, marked in spans:
            for line in text.split("\n"):
                self._print(("  + " if marked else "  · ", "dim"), (plain(line), "bold green" if marked else "dim"))

    def _print(self, *parts: tuple[str, str]) -> None:
        self.console.print(Text.assemble(*parts), soft_wrap=True)
