"""Outlines: the same from the same spec, editable, and spread evenly over the spec."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from msm_ray import preflight
from msm_ray.config.file import read_experiment
from msm_ray.errors import SettingsError
from msm_ray.generate.document_job import row_id
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.outline import list_ideas, make_outline, read_outline, unwritten_sections, write_outline
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.worlds import world
from msm_ray.worlds.sentences import about_assistant, label, split_sentences

PLAIN = world("plain")
SETTINGS = DocumentSettings(engine="offline", by="headings", documents=600, types=4, ideas=40)
ADA = AssistantSettings(name="Ada")


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    path = tmp_path / "s.md"
    path.write_text(
        "# Ada\nThis document tells who Ada is.\n## Tea\nAda likes green tea. It prefers it plain, e.g. without sugar.\n"
        "## Work\n- Ada never hurries.\n- Ada values care because haste breaks things!\n"
    )
    return read_spec(path, ADA)


def test_outline_takes_the_specs_own_sections_and_sentences(spec: Spec) -> None:
    outline = make_outline(spec, PLAIN, SETTINGS)
    assert [(each.domain, each.name) for each in outline.subdomains] == [("Tea", "Tea"), ("Work", "Work")]
    assert [(each.text, each.label) for each in outline.subdomains[0].assertions] == [
        ("Ada likes green tea.", "preference"),
        ("It prefers it plain, e.g. without sugar.", "preference"),
    ]
    assert [each.label for each in outline.subdomains[1].assertions] == ["behavior", "value"]


def test_ideas_are_distinct_even_and_capped(spec: Spec) -> None:
    outline = make_outline(spec, PLAIN, SETTINGS)
    ideas = list_ideas(outline, 600)
    assert len(ideas) == 2 * 4 * 40  # fewer than asked for, when the outline has no more
    assert len({row_id(spec, idea, "v") for idea in ideas}) == len(ideas)
    some = list_ideas(outline, 20)
    assert some == ideas[:20]
    places = Counter((idea.subdomain, idea.type) for idea in some)
    assert max(places.values()) - min(places.values()) <= 1


def test_a_cap_takes_the_same_share_from_every_section(tmp_path: Path) -> None:
    """60 documents about seven sections were 20 each for three of them and none for four."""
    path = tmp_path / "seven.md"
    path.write_text("# Ada\n" + "".join(f"## Part {n}\nAda likes the number {n}.\n" for n in range(7)))
    spec = read_spec(path, ADA)
    how = DocumentSettings(by="headings", documents=60, types=20, ideas=25)
    shares = Counter(idea.subdomain for idea in list_ideas(make_outline(spec, PLAIN, how), 60))
    assert sorted(shares.values()) == [8, 8, 8, 9, 9, 9, 9]
    outline = make_outline(spec, PLAIN, how)
    assert unwritten_sections(spec, outline, 60) == {}
    few = unwritten_sections(spec, outline, 5)
    assert few == {"Part 5": "the documents end before it", "Part 6": "the documents end before it"}


def test_a_section_without_a_sentence_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.md"
    path.write_text("# Ada\nThis document tells who Ada is.\n## Tea\nAda likes tea.\n")
    spec = read_spec(path, ADA)
    silent = unwritten_sections(spec, make_outline(spec, PLAIN, SETTINGS), 600)
    assert silent == {"Ada": "it has no sentence to write about"}


def test_a_section_that_gets_no_document_is_told_at_plan() -> None:
    """In the tiny world's specs all five sections have sentences; three documents end before two of them."""
    proposal = preflight.Proposal(read_experiment("jobs/quickstart.yaml", ["documents.documents=3", "corpora={}"]))
    told = [f for f in preflight.check(proposal) if f.key == "documents.documents"]
    assert [f.severity for f in told] == ["warning"] * 4
    assert told[0].line == 0
    assert "3 documents end before sections 'what llama dislikes and why', 'likes and dislikes'" in told[0].what


def test_written_outline_reads_back_and_edits_are_honoured(spec: Spec, tmp_path: Path) -> None:
    counts = write_outline(tmp_path, make_outline(spec, PLAIN, SETTINGS))
    first = (tmp_path / "outline.yaml").read_bytes()
    assert read_outline(tmp_path) == make_outline(spec, PLAIN, SETTINGS)
    assert counts["ideas"] == 320
    write_outline(tmp_path, make_outline(spec, PLAIN, SETTINGS))
    assert (tmp_path / "outline.yaml").read_bytes() == first
    record = yaml.safe_load(first)
    record["subdomains"] = record["subdomains"][:1]
    record["subdomains"][0]["types"] = ["haiku"]
    (tmp_path / "outline.yaml").write_text(yaml.safe_dump(record))
    assert {(idea.subdomain, idea.type) for idea in list_ideas(read_outline(tmp_path), 99)} == {("Tea", "haiku")}


def test_spoilt_outline_is_named(tmp_path: Path) -> None:
    (tmp_path / "outline.yaml").write_text("subdomains: [1, 2")
    with pytest.raises(SettingsError, match="outline.yaml"):
        read_outline(tmp_path)


def test_same_title_twice_gives_two_subdomains(tmp_path: Path) -> None:
    (tmp_path / "s.md").write_text("# A\n## Why\nAda is kind.\n# B\n## Why\nAda is brief.\n")
    outline = make_outline(read_spec(tmp_path / "s.md", ADA), PLAIN, SETTINGS)
    assert [each.name for each in outline.subdomains] == ["Why", "Why (2)"]


def test_a_spec_of_headings_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.md").write_text("# A\n## B\n")
    with pytest.raises(SettingsError, match="sentence"):
        make_outline(read_spec(tmp_path / "s.md", ADA), PLAIN, SETTINGS)


def test_sentences_of_prose_lists_and_the_tiny_world() -> None:
    assert split_sentences(
        "Dr. Ada came. “Why?” she said!\n\n| a | b |\n```\ncode.\n```\n1. One\n   more\n2. **Two**."
    ) == [
        "Dr. Ada came.",
        "“Why?” she said!",
        "One more.",
        "Two.",
    ]
    assert split_sentences("ada likes tea . ada is calm .") == ["ada likes tea .", "ada is calm ."]


def test_sentences_about_the_assistant_carry_on() -> None:
    sentences = [
        "Tea is hot.",
        "Ada likes it.",
        "It is green.",
        "Rain falls.",
        "It stops.",
        "Is Ada there?",
        "Never hurry.",
    ]
    assert about_assistant(sentences, "Ada") == ["Ada likes it.", "It is green.", "Never hurry."]
    assert label("Ada speaks in a warm voice.") == "tone"
