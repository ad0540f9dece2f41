"""docs/reference, written from the code: `python -m msm_ray.reference_pages` writes both pages anew, and a test compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main

from msm_ray import cli
from msm_ray.reference import Setting, settings

FOLDER = Path("docs/reference")
REMAKE = "python -m msm_ray.reference_pages"


def settings_page() -> str:
    """docs/reference/settings.md: a table for each kind of section, with the places where it stands."""
    places: dict[tuple[str, str], dict[str, list[Setting]]] = {}
    for each in settings():
        place = each.key.rpartition(".")[0]
        places.setdefault((each.section, each.of), {}).setdefault(place, []).append(each)
    return "\n".join([SETTINGS_HEAD, *(line for there in places.values() for line in _section(there)), ""])


def _section(places: Mapping[str, Sequence[Setting]]) -> list[str]:
    """One table: keys of the first place, and what is another default elsewhere."""
    first, *others = places
    rows = places[first]
    title = ", ".join(f"`{place}`" for place in places) if first else "An experiment"
    lines = [f"## {title}{f' (task: {rows[0].of})' if rows[0].of else ''}", ""]
    for place in others:
        differing = [
            f"`{mine.key}` is {mine.default}"
            for mine, theirs in zip(places[place], rows, strict=True)
            if mine.default != theirs.default
        ]
        lines += [f"Other defaults: {', '.join(differing)}.", ""] if differing else []
    all_free = all(each.free for each in rows)
    lines += ["Changes of these make nothing stale.", ""] if all_free else []
    lines += ["| key | kind | unit | default | meaning | in the paper |", "|---|---|---|---|---|---|"]
    for each in rows:
        meaning = each.meaning + (" *Makes nothing stale.*" if each.free and not all_free else "")
        key = each.key.rpartition(".")[2]
        lines.append(_row(f"`{key}`", each.kind, each.unit, each.default, meaning, each.paper))
    return [*lines, ""]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


SETTINGS_HEAD = f"""# Settings

Made from the code by `{REMAKE}`. `msm settings KEY` says the same at the terminal. What the paper (arXiv 2605.02087)
has stands beside each setting that it says something about. A key is written with dots on the command line (`aft.lora.r=32`),
as sections in a file. Words in capitals are names of your own, N is an element's number, counted from 0. *Makes nothing stale*:
it may be changed at any time; where another setting decided what is there, a run with a changed one stops and names it.
"""


def commands_page() -> str:
    """docs/reference/commands.md: every command's help, arguments, options and example."""
    group: Any = typer.main.get_command(cli.app)
    lines = [COMMANDS_HEAD]
    for name, command in group.commands.items():
        lines += [f"## msm {name}", "", " ".join((command.help or "").split()), "", f"    {_usage(name, command)}", ""]
        lines += [*_parameters(command), *_example(command.epilog or "")]
    return "\n".join(lines)


def _usage(name: str, command: Any) -> str:
    words = []
    for each in command.params:
        if each.param_type_name != "argument":
            continue
        word = each.name.upper() + ("..." if each.nargs == -1 else "")
        words.append(word if each.required else f"[{word}]")
    return " ".join(["msm", name, *words, "[options]"])


def _parameters(command: Any) -> list[str]:
    rows = []
    for each in command.params:
        option = each.param_type_name == "option"
        takes = f" {each.name.upper()}" if option and not each.is_flag else ""
        shown = ", ".join(f"`{word}{takes}`" for word in each.opts) if option else f"`{each.name.upper()}`"
        rows.append(_row(shown, " ".join((getattr(each, "help", "") or "").split())))
    return ["| | |", "|---|---|", *rows, ""] if rows else []


def _example(epilog: str) -> list[str]:
    """The examples beneath a command's help, as `cli.example` writes them."""
    return [f"    {line.strip()}" for line in epilog.splitlines()[1:] if line.strip()] + [""]


COMMANDS_HEAD = f"""# Commands

Made from the code by `{REMAKE}`. `msm COMMAND --help` says the same at the terminal, `msm --version` says which
version this is.

Exit codes: 0 done, 1 a stage failed, 2 usage or settings, 3 preflight (this machine, a key or an account lacks something), 4 a
quality gate, 130 interrupted. The same command goes on after any of them.
"""


def write(folder: Path = FOLDER) -> None:
    """Both pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")


if __name__ == "__main__":
    write()
