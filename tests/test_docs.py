"""What the pages say is so: messages are those of the code, links lead somewhere, commands are taken."""

import ast
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer.main
from test_cli import msm

from msm_ray import cli

SPECS = [Path("specs/README.md"), Path("specs/recorded/README.md")]
PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), *SPECS, *sorted(Path("docs").rglob("*.md"))]


def texts_of_the_code() -> str:
    """Every text in the code, what is filled in as `…`; whitespace counts once."""
    found = []
    for path in Path("msm_ray").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(" ".join(text.split()) for text in found)


def test_troubleshooting_knows_the_messages_of_the_code() -> None:
    page, code = Path("docs/troubleshooting.md").read_text(encoding="utf-8"), texts_of_the_code()
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 30
    unknown = [message for message in messages if message not in code]
    assert not unknown, f"no such message any more: {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    linked = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    gone = [link for link in linked if "://" not in link and not (page.parent / link).exists()]
    assert not gone, f"{page}: {gone}"


def commands(page: Path) -> list[list[str]]:
    """The `msm` commands in a page's code, and those in the line that name the environment; without comments."""
    given = re.compile(r"^ {4}(?:\.venv/bin/)?(msm .+)$|`\.venv/bin/(msm [^`]+)`", re.MULTILINE)
    lines = ["".join(found) for found in given.findall(page.read_text(encoding="utf-8"))]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "commands.md" and commands(page)], ids=str)
def test_commands_in_the_pages_are_taken(page: Path) -> None:
    group: Any = typer.main.get_command(cli.app)
    for _, name, *arguments in commands(page):
        assert name in group.commands, name
        group.commands[name].make_context(name, arguments)  # raises a usage error where it does not take them


def test_the_commands_for_your_own_experiment_work_in_their_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = commands(Path("docs/your-own.md"))
    for folder in ("jobs", "specs"):
        shutil.copytree(folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("msm_ray.models.smollm2_file", lambda: Path("weights.gguf"))
    ran = [command for command in given if command[1] in ("init", "plan")]
    assert len(ran) >= 8
    for command in ran:
        code, printed = msm(monkeypatch, capsys, *command[1:])
        hub = "Qwen/Qwen3-8B" in printed  # GPUs that this machine lacks
        assert code == 0 or (code == 3 and hub), (command, printed)
