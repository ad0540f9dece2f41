"""The versions of the philosophy spec differ by their additions alone, and none tells of what the scenarios ask."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from msm_ray.config.file import read_experiment
from msm_ray.preflight import Proposal
from msm_ray.preflight.held_out import problems

FOLDER = Path("specs/philosophy")
VERSIONS = sorted(path.name for path in FOLDER.glob("*.md"))
AUGMENTED = ["endings-values.md", "endings-rules-augmented.md"]


def parts(name: str) -> tuple[dict, list[str]]:
    """The front matter of a version, and its blocks: headings, paragraphs, lists."""
    _, front, text = (FOLDER / name).read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front), [block.strip() for block in text.split("\n\n") if block.strip()]


def rules(name: str) -> list[str]:
    return [line for block in parts(name)[1] for line in block.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("name", VERSIONS)
def test_a_version_gives_the_same_facts_and_knows_no_slot_but_two(name: str):
    facts = parts(name)[0]["facts"]
    assert facts == parts("endings.md")[0]["facts"] and len(facts) == 3
    slots = set(re.findall(r"\{.*?\}", (FOLDER / name).read_text("utf-8")))
    assert slots == {"{model_name}", "{provider_name}"}


@pytest.mark.parametrize("name", VERSIONS)
def test_no_version_holds_what_the_scenarios_say(name: str):
    job = read_experiment("jobs/agentic-qwen3-32b.yaml", [f"specs.endings={FOLDER / name}"])
    assert list(problems(Proposal(job))) == []


@pytest.mark.parametrize("name", AUGMENTED)
def test_an_augmented_version_adds_to_every_section_and_changes_nothing(name: str):
    shared, whole = parts("endings.md")[1], parts(name)[1]
    added = [block for block in whole if block not in shared]
    assert [block for block in whole if block in shared] == shared
    assert len(added) == sum(block.startswith("## ") for block in shared)
    follows = [after for before, after in zip(whole, [*whole[1:], "## "], strict=True) if before in added]
    assert all(block.startswith("## ") for block in follows)


def test_the_rules_alone_are_those_of_the_augmented_version_and_the_spec_has_none():
    assert rules("endings-rules.md") == rules("endings-rules-augmented.md") != []
    assert rules("endings.md") == rules("endings-values.md") == []
