"""What can be looked up is what the code has: every setting explained, every command with an example that it takes."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from test_cli import msm

from msm_ray import __version__, cli, reference, reference_pages
from msm_ray.config import ExperimentSettings
from msm_ray.config.file import load_experiment


@pytest.mark.parametrize("name", ["settings", "commands"])
def test_the_pages_are_what_the_code_says(name: str) -> None:
    page = (reference_pages.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    made = {"settings": reference_pages.settings_page, "commands": reference_pages.commands_page}[name]()
    assert page == made, f"docs/reference/{name}.md is outdated; remake it: {reference_pages.REMAKE}"


def test_every_setting_says_what_it_means() -> None:
    untold = [setting.key for setting in reference.settings() if not setting.meaning]
    assert not untold, f"write beneath it in the code what it means: {untold}"


def test_every_setting_of_the_shipped_jobs_can_be_looked_up() -> None:
    def keys(value: Any, at: str) -> list[str]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [at] * bool(at) + [key for name, part in inner for key in keys(part, f"{at}.{name}".strip("."))]

    for job in Path("jobs").glob("*.yaml"):
        said = load_experiment(job).model_dump(mode="json")
        for key in keys(
            {**said, "variants": {}}, ""
        ):  # what a variant says has the dotted names of the settings themselves
            assert reference.look_up(key), key


@pytest.mark.parametrize(
    ("key", "kind", "unit", "default", "paper"),
    [
        ("seeds", "whole number above 0", "trainings of each arm", "4", "4"),
        ("aft.warmup", "number from 0 below 1", "share", "0.05", "5%"),
        ("groups.agentic.aft.lora.r", "whole number above 0", "", "64", "64"),
        ("midtraining.steps", "whole number above 0", "optimizer steps", "none", ""),
        ("cluster.training.workers", "whole number above 0", "", "2", ""),
        ("cluster.serving.port", "whole number from 0 to 65535", "", "0", ""),
        ("chats.cheese.thinking", "true or false", "", "none", "both, as arms of their own"),
        ("documents.engine", "vllm or endpoint or replay or offline or text", "", "vllm", "Claude Opus 4.6"),
        ("evals.x.rollouts", "whole number above 0", "rollouts a condition", "300", "300"),
    ],
)
def test_a_setting_is_told_with_unit_default_and_the_papers(
    key: str, kind: str, unit: str, default: str, paper: str
) -> None:
    (found,) = reference.look_up(key)
    assert (found.kind, found.unit, found.default, found.paper) == (kind, unit, default, paper)


def test_what_decides_nothing_is_told_as_free() -> None:
    free = {setting.key: setting.free for setting in reference.settings()}
    assert free["cluster.serving.port"] and free["aft.micro_batch"]
    assert not free["aft.batch"] and not free["documents.documents"]


def test_settings_at_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = msm(monkeypatch, capsys, "settings", "evals.america.max_tokens")
    assert code == 0
    assert [line for line in printed.splitlines() if "task:" in line] == [
        f"  of       evals with task: {task}" for task in ("preferences", "agentic", "answers", "inspect")
    ]
    code, printed = msm(monkeypatch, capsys, "settings", "aft.lora")
    assert code == 0 and "aft.lora.alpha" in printed
    code, printed = msm(monkeypatch, capsys, "settings", "aft.stpes")
    assert code == 2 and "did you mean aft.steps" in printed
    code, printed = msm(monkeypatch, capsys, "settings")
    assert code == 0
    assert {line.split()[0] for line in printed.splitlines() if line[:1].isalpha()} == set(
        ExperimentSettings.model_fields
    )
    code, printed = msm(monkeypatch, capsys, "settings", "--json")
    assert len(json.loads(printed)) == len(reference.settings())


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert msm(monkeypatch, capsys, "--version") == (0, f"msm {__version__}\n")


def test_every_command_has_an_example_that_it_takes() -> None:
    group: Any = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        examples = [line.strip() for line in (command.epilog or "").splitlines()[1:] if line.strip()]
        assert examples, f"msm {name}: give it an example (`cli.example`)"
        for line in examples:
            program, called, *arguments = shlex.split(line)
            assert (program, called) == ("msm", name), line
            command.make_context(name, arguments)  # raises a usage error where it does not take them
