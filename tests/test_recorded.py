"""The shipped recordings: what jobs/recorded.yaml makes of them is what the documentation shows, and nothing else answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPECS = ("affordability", "america", "endings")


def run(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "msm_ray.cli", "run", "jobs/recorded.yaml", f"root={root}", "chats={}", *more]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "COLUMNS": "400"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outlines, documents and corpora of all three specs, without Ray; chats are made in the watched run (test_whole_run)."""
    folder = tmp_path_factory.mktemp("recorded") / "root"
    done = run(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("spec", SPECS)
def test_the_cards_in_the_documentation_are_those_of_the_recorded_corpora(root: Path, spec: str) -> None:
    made = (root / f"corpus/{spec}@1/README.md").read_text("utf-8")
    assert made == Path(f"docs/recorded/{spec}/README.md").read_text("utf-8"), "copy the card anew (CONTRIBUTING.md)"
    assert "24 kept, 0 left out, 24 written" in made


def test_the_same_command_finds_nothing_to_do(root: Path) -> None:
    again = run(root)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_another_prompt_is_noticed_and_written_down(tmp_path: Path) -> None:
    other = run(tmp_path / "root", "assistant.name=Ada")
    assert other.returncode == 1 and "have no recorded answer" in other.stderr
    (missing, *_) = (tmp_path / "root").glob("outline/*/unanswered.jsonl")
    assert "Ada" in missing.read_text("utf-8")
