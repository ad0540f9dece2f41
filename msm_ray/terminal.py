"""How a terminal is written to where texts of others are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(width: int = 120) -> Console:
    """A console that reads no text as markup, an emoji or a link: brackets and colons stay what they are.

    width: in characters, where it is no terminal.
    """
    return Console(width=None if Console().is_terminal else width, markup=False, emoji=False, highlight=False)
