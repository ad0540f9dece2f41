"""Bars on a terminal: one for the stages that run, one for the whole experiment. What is printed meanwhile stands above them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from msm_ray.progress import words

if TYPE_CHECKING:
    from rich.table import Table


def open_screen() -> Screen | None:
    """A display where there is a terminal that a person looks at; None for pipes, files, CI and terminals that can't draw."""
    # What is printed meanwhile is nobody's markup, and a long path is not broken in two.
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not console.is_terminal or console.is_dumb_terminal or os.environ.get("CI") or not os.isatty(2):
        return None
    return Screen(console)


class Screen:
    """The live part at the bottom of a terminal, between `with`."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)

    def __enter__(self) -> Screen:
        self._live.start()
        self._console.show_cursor(True)  # a killed run must not leave a terminal without one
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, content: Mapping[str, Any]) -> None:
        """Draw how it stands. content: `Reporter.content`."""
        self._live.update(bars(content, self._console.width), refresh=True)

    def above(self, line: str) -> None:
        """Print a line, colors and all, above the bars."""
        self._console.print(Text.from_ansi(line))


def bars(content: Mapping[str, Any], columns: int) -> Table:
    """The bars as rich draws them: name, bar, what is done, how fast and how long; the whole experiment last.

    columns: the terminal's width; where it is narrow, the bars give way to the words.
    """
    width = max(8, min(24, columns - 72))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(width=width)
    table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)

    def add(name: str, done: float, total: float | None, said: str) -> None:
        bar = ProgressBar(total=total or None, completed=done, width=width, pulse=total is None)
        table.add_row(Text(name), bar, Text(said))

    running = content["running"]
    tasks = running["tasks"] if running else []
    if running and running["stages"] and not any(not each["label"] for each in tasks):
        done, asked = running["made"], running["stages"]
        add(running["kinds"], done, asked, f"{done} of {asked} stages, {words.duration(running['seconds'])} so far")
    for each in tasks:
        said = ", ".join(part for part in (words.amount(each), words.speed(each)) if part)
        add(each["label"] or running["kinds"], each["done"], each["asked"], said)
        if each["now"]:
            table.add_row("", "", Text(each["now"], "dim"))
    if states := [stage["state"] for stage in content["stages"].values()]:
        add("experiment", states.count("done"), len(states), words.altogether(content))
    return table
