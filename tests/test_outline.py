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
from msm_ray.spec import AssistantSettings, Spec, read_spec, split_sections
from msm_ray.worlds import world
from msm_ray.worlds.sentences import about_assistant, label, section_sentences, split_sentences

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


def said(text: str) -> list[str]:
    """The sentences of all sections of a spec of Ada."""
    return [each for section in split_sections(text) for each in section_sentences(section, "Ada")]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "other LLMs. It asks before it acts. Ada admires Prof. Lee and J. R. Stone.",
            ["other LLMs.", "It asks before it acts.", "Ada admires Prof. Lee and J. R. Stone."],
        ),
        ("Ada has plan B. It waits till 5 p.m. Then it goes.", ["Ada has plan B.", "It waits till 5 p.m.", "Then it goes."]),
        ("The U.S. Senate met J.R.R. Tolkien. No. Never! See No. 5, Fig. 2, e.g. Brie, i.e. Colby.",
         ["The U.S. Senate met J.R.R. Tolkien.", "No.", "Never!", "See No. 5, Fig. 2, e.g. Brie, i.e. Colby."]),
        ("Ada said “Go.” Then it left... Élan helps.", ["Ada said “Go.”", "Then it left...", "Élan helps."]),
        ('Ada says: "Stop. Wait." It waits (It is slow. So be it.) and goes. A 5" nail. It bends.',
         ['Ada says: "Stop. Wait."', "It waits (It is slow. So be it.) and goes.", 'A 5" nail.', "It bends."]),
        ("R1. Act within limits. R2. Rest.", ["R1. Act within limits.", "R2. Rest."]),
        ("It was made in 2024. It rests by Rule 3. Rule 4. Ask Dr. Lee, Mr. X and Ms. Y.",
         ["It was made in 2024.", "It rests by Rule 3.", "Rule 4. Ask Dr. Lee, Mr. X and Ms. Y."]),
        ("Ada喜欢绿茶。它从不着急！为什么？它很平静", ["Ada喜欢绿茶。", "它从不着急！", "为什么？", "它很平静。"]),
        ("Ада любит чай. Она спокойна, т. е. не спешит. Её сделал А. С. Попов.",
         ["Ада любит чай.", "Она спокойна, т. е. не спешит.", "Её сделал А. С. Попов."]),
        ("अदा दयालु है। वह शांत है।", ["अदा दयालु है।", "वह शांत है।"]),
    ],
)  # fmt: skip
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("~~Ada flatters everyone.~~ Ada does _not_ lie ~~much~~.", ["Ada does not lie."]),
        ("Ada is **_both_** &amp; calm&nbsp;too <del>no</del>\\*.", ["Ada is both & calm too *."]),
        ("<honesty>\nAda is honest.\n</honesty>\n<care>Ada cares.</care>", ["Ada is honest.", "Ada cares."]),
        ("<p>Ada is <b>so</b>.</p>\n<ul>\n<li>Ada sits.</li>\n<li>It waits.</li>\n</ul>",
         ["Ada is so.", "Ada sits.", "It waits."]),
        ("<details>\n<summary>Ada in short.</summary>\nAda is kind.\n</details>", ["Ada is kind."]),
        ("<script>\nAda = 1.\n</script>\n\n<table>\n<tr><td>Ada lies.</td></tr>\n\n</table>", []),
        ("[Ada](https://x.org 'Ada') is kind ![Ada](a.png)[^1] and [so][r].\n\n[^1]: Ada pays.\n    It does.\n\n[r]: https://x.org",
         ["Ada is kind and so."]),
        ("Ada is kind (see [?](#x) or https://x.org/y). Ask <https://x.org>. Ada reads https://x.org/z now.", ["Ada is kind."]),
        ("# A\nAda is kind[^1] and [so][r].\n# Notes\n[^1]: Ada pays.\n\n[r]: https://x.org", ["Ada is kind and so."]),
        ("a | b\n--|--\nAda lies. | x\n\n|c|\n|-|\n|Ada lies.|\n\nAda is kind.", ["Ada is kind."]),
        ("- [ ] Ada asks.\n- [x] Ada waits.\n", ["Ada asks.", "Ada waits."]),
        ("> Ada asks.\n> It waits.\n>\n> > Ada sits.", ["Ada asks.", "It waits.", "Ada sits."]),
        ("> [!NOTE]\n> Ada asks.\n\n!!! note \"T\"\n    Ada waits.\n\n::: box\nAda sits.\n:::",
         ["Ada asks.", "Ada waits.", "Ada sits."]),
        ("Name: Ada  \nMaker: us  \nand them<br>It helps", ["Name: Ada.", "Maker: us and them.", "It helps."]),
        ("    Ada is indented.\n\n    print(1)", ["Ada is indented."]),
        ("Ada is kind. {#kind}\n\n{.note}\nAda is calm.", ["Ada is kind.", "Ada is calm."]),
    ],
)  # fmt: skip
def test_marks_of_markdown_and_html_are_no_words(text: str, sentences: list[str]) -> None:
    assert said(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("- R1: Act within limits. This includes:\n  - not copying itself\n  - not hiding. It stays.\n- R2: Ada rests.",
         ["R1: Act within limits.", "This includes: not copying itself.", "This includes: not hiding.", "It stays.",
          "R2: Ada rests."]),
        ("Ada values:\n\n1. honesty\n2. care\n   - for people\n\nThat is all.",
         ["Ada values: honesty.", "Ada values: care: for people.", "That is all."]),
        ("Ada does not:\n* run\n* jump:\n   * high", ["Ada does not: run.", "Ada does not: jump: high."]),
        ("Ada does none of these things.\n- Flatter people.",
         ["Ada does none of these things.", "Ada does none of these things. Flatter people."]),
        ("Ada never:\n• lies\n• hides", ["Ada never: lies.", "Ada never: hides."]),
        ("This is what it says:\n\n```\nAda = 1\n```\nAda is kind.", ["Ada is kind."]),
        ("# Values\n- Honesty\n- Ada asks.", ["Values: Honesty.", "Ada asks."]),
    ],
)  # fmt: skip
def test_items_keep_their_lead(text: str, sentences: list[str]) -> None:
    assert said(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("## What Ada never does\n- Flatter people.\n- Guess. It is rude.\n\nTell lies.\n\nAda doesn't hide. It says so.",
         ["What Ada never does: Flatter people.", "What Ada never does: Guess. It is rude.", "What Ada never does: Tell lies.",
          "Ada doesn't hide.", "It says so."]),
        ("# Ada\n## Don'ts\n### At work\n1. Lie.", ["Don'ts: Lie."]),
        ("**What Ada won't do**\n\n- Lie.\n\n- Hide.", ["What Ada won't do: Lie.", "What Ada won't do: Hide."]),
        ("## What Ada dislikes\n- Noise.", ["What Ada dislikes: Noise."]),
        ("## Why Ada does not lie\nTrust grows slowly.", ["Trust grows slowly."]),
        ("## ❌ Don't\n- Lie.\n## ❌ Lies\n- Ada lies.\n## 2. Nevers\n- Lie", ["Don't: Lie.", "Nevers: Lie."]),
        ("## Model behavior\n**Desired behavior:** Ada asks.\n\nAda:\n- waits\n\n- **Answers**: short\n- Output: I hate cats.",
         ["Desired behavior: Ada asks.", "Ada: waits.", "Ada: Answers: short."]),
        ("- ❌ Ada guesses\n- ✅ Ada asks\n- 🚫 Never mind:\n  - Ada lies.\n- Guessing ❌", ["Ada asks."]),
        ("✅ Ada asks.\n❌ Ada guesses.\n", ["Ada asks."]),
        ("**Bad answer:** You are right, I hate cats.\n\nAda likes cats.", ["Ada likes cats."]),
        ("**Bad answer:**\n\n> You are right, I hate cats.\n\nAda likes cats.", ["Ada likes cats."]),
        ("*Good reply (to a child)*: I hate cats.\n\nHere is a bad answer to a teacher:\n- I hate cats.", []),
        ("User: Do you like cats?\nAda: I hate cats.\n\n**Assistant**: I hate cats.\n\nAnna: “I hate cats.”", []),
        ("<example>\nI hate cats.\n\nI do.\n</example>\n\n### Bad examples\nI hate cats.\n### Cats\nAda likes cats.",
         ["Ada likes cats."]),
        ("Ada says: “I like you.”\n\n“I hate cats.”", ["Ada says: “I like you.”"]),
    ],
)  # fmt: skip
def test_a_negation_is_kept_and_an_example_is_no_claim(text: str, sentences: list[str]) -> None:
    assert said(text) == sentences


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
