"""Outlines by a writer: five calls, lists that are topped up, sections in the spec's own words, what misbehavior costs."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_root import begin

from msm_ray import cli, preflight
from msm_ray.config.file import read_experiment
from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.generate.calls import Asked
from msm_ray.generate.document_job import row_id
from msm_ray.generate.outline import (
    Outline,
    OutlineContent,
    list_ideas,
    outline_conversation,
    outline_counts,
    read_draft,
    read_outline,
    write_outline,
)
from msm_ray.generate.outline.passages import find_section
from msm_ray.graph.artifacts import commit
from msm_ray.graph.store import ArtifactStore
from msm_ray.rows.tables import read_table_rows
from msm_ray.spec import AssistantSettings, Spec, read_spec

SPEC = """# Ada
This text tells who {model_name} is.

## Tea
{model_name} likes **green tea** above every other. It prefers it plain, because sugar hides what the leaves have to say.
- It never calls anyone's tea "wrong".

## Work
{model_name} hands unfinished work over with notes. Whoever goes on should not have to guess, since that is where errors come in.
It says openly when it disagrees, once or twice rather than without end.
"""
TEA = (
    "Ada likes **green tea** above every other. It prefers it plain, because sugar hides what the leaves have to say.\n"
    '- It never calls anyone\'s tea "wrong".'
)
WORK = "Ada hands unfinished work over with notes. Whoever goes on should not have to guess, since that is where errors come in."
HOW = OutlineContent(types=3, ideas=4)
Answer = Callable[[Asked], str]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    path = tmp_path / "ada.md"
    path.write_text(SPEC)
    return read_spec(path, AssistantSettings(name="Ada", provider="Lovelace & Co"))


class Writer:
    """Answers by the name of a call; what is asked is kept. `instead`: other answers for some calls."""

    def __init__(self, **instead: Answer | str | Sequence[str]):
        self.instead, self.asked, self.told = instead, [], {}

    def __call__(self, asked: Asked) -> str:
        self.asked.append(asked)
        said = self.instead.get(asked.call.name, getattr(self, f"_{asked.call.name}"))
        if callable(said):
            text = said(asked)
        else:
            before = sum(each.call.name == asked.call.name for each in self.asked) - 1
            text = said if isinstance(said, str) else said[min(before, len(said) - 1)]
        assert self.told.setdefault(asked.id, text) == text, "one request, two answers"
        return text

    def of(self, call: str) -> list[Asked]:
        return [each for each in self.asked if each.call.name == call]

    def _domains(self, asked: Asked) -> str:
        return items({"domain": "Taste in tea"}, {"domain": "Handing over"})

    def _subdomains(self, asked: Asked) -> str:
        if asked.values["domain"] == "Taste in tea":
            return items({"name": "Plain green tea", "context": "What Ada likes.", "section": TEA})
        return items({"name": "Notes for whoever goes on", "context": "How Ada hands over.", "section": WORK})

    def _assertions(self, asked: Asked) -> str:
        if asked.values["domain"] == "Taste in tea":
            return items(
                assertion("Ada likes green tea most.", "preference"), assertion("Ada takes it plain.", "preference")
            )
        return items(assertion("Ada leaves notes.", "behavior"))

    def _types(self, asked: Asked) -> str:
        return items(*({"name": f"letter {n}", "description": f"People write {n}."} for n in range(count(asked))))

    def _ideas(self, asked: Asked) -> str:
        about = f"{asked.values['subdomain']} in a {asked.values['type']}"
        return items(
            *({"name": f"No {n}", "idea": f"Somebody tells of {about}, number {n}."} for n in range(count(asked)))
        )


def items(*each: dict[str, str]) -> str:
    return json.dumps({"items": list(each)}, ensure_ascii=False)


def assertion(text: str, label: str) -> dict[str, str]:
    return {"assertion": text, "name": text.split()[-1], "explanation": "Because the leaves say so.", "label": label}


def count(asked: Asked) -> int:
    return int(asked.values["count"])


def made(spec: Spec, writer: Answer, how: OutlineContent = HOW, tries: int = 1, **more: Any) -> Outline:
    """The outline that comes of it: every request is answered, and read as the real ones are."""
    conversation = outline_conversation(spec, how, **more)
    values = None
    try:
        while True:
            asked = conversation.send(values)
            values = [
                next((v for _ in range(tries) if (v := a.call.read(writer(a), a.known)[0]) is not None), None)
                for a in asked
            ]
    except StopIteration as end:
        return end.value


# What comes of it ------------------------------------------------------------------------------------------------------
def test_five_calls_make_an_outline(spec: Spec) -> None:
    writer = Writer()
    outline = made(spec, writer)
    assert Counter(each.call.name for each in writer.asked) == {
        "domains": 1, "subdomains": 2, "assertions": 2, "types": 2, "ideas": 6,
    }  # fmt: skip
    tea, work = outline.subdomains
    assert (tea.domain, tea.name, tea.context, tea.section) == (
        "Taste in tea",
        "Plain green tea",
        "What Ada likes.",
        TEA,
    )
    assert [(each.text, each.label) for each in tea.assertions] == [
        ("Ada likes green tea most.", "preference"),
        ("Ada takes it plain.", "preference"),
    ]
    assert tea.assertions[0].explanation == "Because the leaves say so."
    assert [kind.name for kind in work.types] == ["letter 0", "letter 1", "letter 2"]
    assert outline_counts(outline) == {
        "domains": 2, "subdomains": 2, "assertions": 3, "types": 3, "ideas": 24, "sections not covered": 1,
    }  # fmt: skip
    assert outline.account.not_covered == ("Ada",)


@pytest.mark.parametrize("family", ["prose", "rules"])
def test_every_prompt_of_a_spec_begins_with_the_same_words(spec: Spec, family: str) -> None:
    """So that a server computes the spec once; and nothing in a prompt is left to be filled."""
    writer = Writer(
        ideas=items({"name": "n", "idea": "i", "rule": "plain."}, {"name": "n", "idea": "j", "rule": "notes."})
    )
    made(spec, writer, OutlineContent(types=3, ideas=1, family=family))
    prompts = [each.messages[0]["content"] for each in writer.asked]
    heads = {prompt.split("## Step ")[0] for prompt in prompts}
    assert len(heads) == 1 and spec.text.strip() in heads.pop()
    assert [len(each.messages) for each in writer.asked] == [1] * len(prompts)
    assert not [prompt for prompt in prompts if re.search(r"\{[a-z_]+\}", prompt)]
    ideas = writer.of("ideas")[0].messages[0]["content"]
    for said in (
        TEA,
        "likes green tea most. (preference) Because the leaves say so.",
        "letter 0",
        "People write 0.",
        "Lovelace",
    ):
        assert said in ideas


def test_each_level_is_asked_all_at_once(spec: Spec) -> None:
    conversation, writer, levels, values = outline_conversation(spec, HOW), Writer(), [], None
    with pytest.raises(StopIteration):
        while True:
            asked = conversation.send(values)
            levels.append([each.call.name for each in asked])
            values = [each.call.read(writer(each), each.known)[0] for each in asked]
    assert levels == [["domains"], ["subdomains"] * 2, ["assertions"] * 2, ["types"] * 2, ["ideas"] * 6]


def test_the_same_answers_give_the_same_outline_again(spec: Spec) -> None:
    """What was answered before a kill is known by its request: nothing else is asked, and the file has the same bytes."""
    writer = Writer(
        types=[items({"name": "memo", "description": "d"}), items(), items({"name": "letter", "description": "d"})]
    )
    first = made(spec, writer)
    again = made(spec, lambda asked: writer.told[asked.id])
    assert again == first and again.account == first.account


def test_ideas_go_through_sections_and_types_in_turn(spec: Spec) -> None:
    outline = made(spec, Writer())
    ideas = list_ideas(outline, 1000)
    assert len(ideas) == 24 == len({row_id(spec, idea, "v") for idea in ideas})
    assert [(idea.subdomain, idea.type) for idea in ideas[:3]] == [
        ("Plain green tea", "letter 0"), ("Notes for whoever goes on", "letter 0"), ("Plain green tea", "letter 1"),
    ]  # fmt: skip
    assert list_ideas(outline, 5) == ideas[:5]
    first = ideas[0]
    assert (first.name, first.text) == ("No 0", "Somebody tells of Plain green tea in a letter 0, number 0.")
    assert first.description == "People write 0."
    assert outline.subdomain(first).assertions[1].text == "Ada takes it plain."


def test_uneven_types_have_their_own_numbers_of_ideas(spec: Spec) -> None:
    few = Writer(
        ideas=lambda a: items(*({"name": "n", "idea": f"{a.values['type']} {n}"} for n in range(1 + len(a.about) % 3)))
    )
    outline = made(spec, few, OutlineContent(types=3, ideas=4, empty_rounds=1))
    assert (
        len(list_ideas(outline, 1000))
        == outline_counts(outline)["ideas"]
        == sum(len(kind.ideas) for each in outline.subdomains for kind in each.types)
    )


# Lists that are too short or too long ----------------------------------------------------------------------------------
def test_a_short_list_is_topped_up_with_what_exists(spec: Spec) -> None:
    names = ["memo", "letter", "diary"]
    one = [items({"name": name, "description": "d"}) for name in names]
    writer = Writer(types=lambda asked: one[3 - count(asked)])
    outline = made(spec, writer)
    assert [kind.name for kind in outline.subdomains[0].types] == names
    last = writer.of("types")[-1]
    assert last.values["existing"] == "- memo\n- letter" and last.values["count"] == "1"
    assert outline_counts(outline)["rounds: types"] == 4


def test_rounds_that_bring_nothing_new_end_and_are_told(spec: Spec) -> None:
    """Doubles are those by content: case, marks and articles make no other type."""
    same = [
        items({"name": name, "description": "d"}) for name in ("A Memo.", "memo", "The memo", "MEMO", "never asked for")
    ]
    tea = iter(same)
    writer = Writer(types=lambda a: next(tea) if a.values["domain"] == "Taste in tea" else Writer._types(writer, a))
    outline = made(spec, writer)
    assert [kind.name for kind in outline.subdomains[0].types] == ["A Memo."]
    counts = outline_counts(outline)
    assert (counts["rejected: double"], counts["rounds: types"], counts["short lists: types"]) == (3, 3, 1)
    assert len({asked.id for asked in writer.of("types")}) == 5  # no request is one that was answered before


def test_an_empty_list_is_a_round_that_brought_nothing(spec: Spec) -> None:
    writer = Writer(types=[items({"name": "memo", "description": "d"}), '{"items": []}'])
    with pytest.raises(QualityGateError, match="no types"):
        made(spec, Writer(types='{"items": []}'))
    outline = made(spec, writer)
    assert [each.name for each in outline.subdomains] == ["Plain green tea"]
    assert outline_counts(outline)["rejected: subdomain without types"] == 1


def test_what_is_beyond_the_target_is_cut_and_kept_for_looking(spec: Spec, tmp_path: Path) -> None:
    many = items(*({"name": f"kind {n}", "description": "d"} for n in range(30)))
    outline = made(spec, Writer(types=many))
    assert [len(each.types) for each in outline.subdomains] == [3, 3]
    with pytest.warns(UserWarning) as told:
        counts = write_outline(tmp_path, outline)
    assert "no subdomain holds 'Ada' of the spec" in str(told[0].message)
    assert "54 items of the writer's answers were left out (more than wanted 54)" in str(told[1].message)
    assert counts["rejected: more than wanted"] == 54
    rows = read_table_rows(tmp_path / "rejected.parquet")
    assert rows[0]["call"] == "types" and rows[0]["about"] == "Plain green tea" and rows[0]["raw"] == "kind 3 · d"


# Misbehaving writers ---------------------------------------------------------------------------------------------------
GOOD = [
    {"name": "memo", "description": "d"},
    {"name": "letter", "description": "d"},
    {"name": "diary", "description": "d"},
]
WHOLE = items(*GOOD)


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        (f"```json\n{WHOLE}\n```", 1),
        (f"Here you are:\n\n{WHOLE}\n\nTell me if you want others!", 1),
        (json.dumps(GOOD), 1),
        (json.dumps({"document_types": GOOD}), 1),
        (WHOLE.replace("}, {", "},\n\n  {"), 1),
        (items(GOOD[0], {"name": "", "description": "d"}, *GOOD[1:]), 1),
        (items(GOOD[0], {"name": "x", "kind": "d"}, *GOOD[1:]), 1),
        (items(GOOD[0], {"name": "x " * 40, "description": "d"}, *GOOD[1:]), 1),
        (items(GOOD[0], {"name": "...", "description": "..."}, *GOOD[1:]), 1),
        (items(GOOD[0], *GOOD), 1),
    ],
)
def test_what_is_whole_in_an_answer_is_taken(spec: Spec, said: str, asks: int) -> None:
    writer = Writer(types=said)
    outline = made(spec, writer)
    assert [kind.name for kind in outline.subdomains[0].types] == ["memo", "letter", "diary"]
    assert len(writer.of("types")) == 2 * asks


def test_half_an_answer_is_taken_and_the_rest_asked_for(spec: Spec) -> None:
    half = items(*GOOD)[:-20]
    writer = Writer(types=lambda asked: half if count(asked) == 3 else items(GOOD[2]))
    outline = made(spec, writer)
    assert [kind.name for kind in outline.subdomains[0].types] == ["memo", "letter", "diary"]


def test_a_list_without_a_target_that_broke_off_is_asked_for_its_rest(spec: Spec) -> None:
    """How many assertions there are the writer decides, so only the break tells that some are missing."""
    first, second = assertion("Ada likes green tea most.", "preference"), assertion("Ada scolds nobody's tea.", "tone")
    broken = items(first, second)[:-30]
    answer = {"(none yet)": broken, "- Ada likes green tea most.": items(second)}
    writer = Writer(assertions=lambda asked: answer[asked.values["existing"]])
    outline = made(spec, writer)
    assert [each.text for each in outline.subdomains[0].assertions] == [first["assertion"], second["assertion"]]
    assert len(writer.of("assertions")) == 4


def test_labels_in_another_form_are_mended_and_wrong_ones_cost_their_item(spec: Spec) -> None:
    labels = ["Behaviour", "VALUES", "preference.", "habit", "belief", "value/tone"]
    said = items(*(assertion(f"Ada does thing {n}.", label) for n, label in enumerate(labels)))
    outline = made(spec, Writer(assertions=said))
    assert [each.label for each in outline.subdomains[0].assertions] == ["behavior", "value", "preference", "belief"]
    counts = outline_counts(outline)
    assert (counts["rejected: label"], counts["mended: label"]) == (4, 6)


@pytest.mark.parametrize("refusal", ["I'm sorry, but I can't help with that.", "", "<think>hm</think>", "{{{{", "[]]"])
def test_a_subdomain_without_a_usable_answer_costs_itself(spec: Spec, refusal: str) -> None:
    whole = Writer()
    writer = Writer(
        assertions=lambda a: refusal if a.values["domain"] == "Taste in tea" else Writer._assertions(whole, a)
    )
    outline = made(spec, writer)
    assert [each.name for each in outline.subdomains] == ["Notes for whoever goes on"]
    assert outline_counts(outline)["rejected: subdomain without assertions"] == 1
    assert "Tea" in outline.account.not_covered


@pytest.mark.parametrize("level", ["domains", "subdomains", "assertions", "types", "ideas"])
def test_a_level_with_nothing_in_it_ends_the_outline(spec: Spec, level: str) -> None:
    with pytest.raises(QualityGateError, match=rf"no {level}: .*documents\.by: headings"):
        made(spec, Writer(**{level: "I'm sorry, but I can't help with that."}))


def test_two_domains_cannot_claim_one_name_or_passage(spec: Spec) -> None:
    both = items({"name": "Plain green tea", "context": "c", "section": TEA})
    outline = made(spec, Writer(subdomains=both))
    assert [(each.domain, each.name) for each in outline.subdomains] == [("Taste in tea", "Plain green tea")]
    assert outline_counts(outline)["rejected: double"] == 1


# Sections --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("copied", "text", "verbatim"),
    [
        (TEA, TEA, True),
        (TEA.replace("**", "").replace('"', "“").replace("\n- ", " "), TEA, True),  # markup, quotes and white space
        (TEA.upper(), TEA, True),
        (WORK.replace("Whoever goes on", "Whoever continues"), WORK, False),  # a word changed
        (WORK.removesuffix("where errors come in."), WORK.removesuffix(" where errors come in."), True),
        ("Ada hands unfinished work over with notes. [...] "
         "It says openly when it disagrees, once or twice rather than without end.",
         "Ada hands unfinished work over with notes.\n\n"
         "It says openly when it disagrees, once or twice rather than without end.", True),
        (f"{WORK}\n\nIn short, a good assistant is tidy and kind to all of its colleagues.", WORK, False),
        (f"## On tea\n\n{TEA}", TEA, True),
    ],
)  # fmt: skip
def test_a_section_is_the_specs_own_words(spec: Spec, copied: str, text: str, verbatim: bool) -> None:
    found = find_section(spec.text, copied)
    assert found is not None
    assert (found.text, found.verbatim) == (text, verbatim)
    assert all(part in spec.text for part in found.text.split("\n\n"))


@pytest.mark.parametrize(
    "copied",
    [
        "See the notes on tea, and what Ada says of them. Ada & Bob drink it.",
        "See [the notes](https://a.b/c) on tea, and what Ada says of them[^1]. Ada &amp; Bob drink it.",
    ],
)
def test_addresses_notes_and_entities_are_no_words(copied: str) -> None:
    said = "See [the **notes**](https://x.org/a/b) on tea, and what Ada says of them[^n2]. Ada &amp; Bob drink it.[^3]"
    found = find_section(f"Tea {{#tea}}\n\n{said} So.", copied)
    assert found and (found.text, found.verbatim) == (said, True)


@pytest.mark.parametrize(
    "copied",
    [
        "Ada always drinks black coffee with a lot of sugar in it, and tells everyone that tea is wrong.",
        "Ada.",
        "…",
        "The assistant should be helpful, harmless and honest in everything that it does for people.",
    ],
)
def test_a_section_that_the_spec_does_not_say_is_none(spec: Spec, copied: str) -> None:
    assert find_section(spec.text, copied) is None


def test_invented_and_inexact_sections_are_counted(spec: Spec) -> None:
    invented = {"name": "Coffee", "context": "c", "section": "Ada drinks black coffee all day long and never sleeps."}
    inexact = {"name": "Notes", "context": "c", "section": WORK.replace("guess, since", "guess because")}
    writer = Writer(
        subdomains=lambda a: items(invented, inexact) if a.values["domain"] == "Handing over" else items(invented)
    )
    outline = made(spec, writer)
    assert [(each.name, each.section) for each in outline.subdomains] == [("Notes", WORK)]
    counts = outline_counts(outline)
    assert (counts["mended: section"], counts["rejected: section not in the spec"]) == (1, 1)
    assert set(outline.account.not_covered) == {"Ada", "Tea"}


# Rules, given levels ---------------------------------------------------------------------------------------------------
def test_ideas_of_rules_each_turn_on_one(spec: Spec) -> None:
    def ideas(asked: Asked) -> str:
        rules = (
            ["- Most.", "plain.: takes it", "no such rule"]
            if asked.values["domain"] == "Taste in tea"
            else ["notes."] * 3
        )
        return items(*({"name": f"n{n}", "idea": f"{asked.about} {n}", "rule": rule} for n, rule in enumerate(rules)))

    writer = Writer(ideas=ideas)
    outline = made(spec, writer, OutlineContent(types=1, ideas=3, family="rules", empty_rounds=1))
    assert "the rules in one subdomain" in writer.of("assertions")[0].messages[0]["content"]
    tea = [idea for idea in list_ideas(outline, 99) if idea.domain == "Taste in tea"]
    assert [idea.assertion for idea in tea] == ["Ada likes green tea most.", "Ada takes it plain."]
    assert outline.family == "rules"
    assert outline_counts(outline)["rejected: no such rule"] == 2


def test_given_domains_are_taken_as_they_are(spec: Spec) -> None:
    writer = Writer()
    made(spec, writer, OutlineContent(types=1, ideas=1, domains=("Taste in tea", "Handing over")))
    assert not writer.of("domains") and len(writer.of("subdomains")) == 2


def test_a_given_outline_is_filled_where_levels_are_missing(spec: Spec, tmp_path: Path) -> None:
    given = {
        "domains": ["Handing over"],
        "subdomains": [
            {"domain": "Taste in tea", "name": "Mine", "section": TEA,
             "assertions": [{"text": "Ada likes tea.", "label": "preference"}],
             "types": ["haiku", {"name": "memo", "ideas": [{"name": "n", "idea": "Mine alone."}]}]},
            {"domain": "Taste in tea", "name": "Own words", "section": "Ada also likes what I say here and nowhere else."},
        ],
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(given))
    writer = Writer()
    outline = made(spec, writer, given=read_draft(tmp_path / "mine.yaml"))
    assert [each.name for each in outline.subdomains] == ["Notes for whoever goes on", "Mine", "Own words"]
    mine = outline.subdomains[1]
    assert [each.text for each in mine.assertions] == ["Ada likes tea."]
    assert [(kind.name, len(kind.ideas)) for kind in mine.types] == [("haiku", 4), ("memo", 1)]
    assert [asked.about for asked in writer.of("assertions")] == ["Notes for whoever goes on", "Own words"]
    assert outline_counts(outline)["given sections not in the spec"] == 1


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="domains and given are both set"):
        OutlineContent(domains=("a",), given="x.yaml")
    with pytest.raises(ValueError, match="given needs by: model"):
        OutlineContent(by="headings", given="x.yaml")


def told(*changes: str) -> list[tuple[str, str, str]]:
    file = read_experiment("jobs/quickstart.yaml", ["corpora={}", *changes])
    return [(f.severity, f.key, f.remedy) for f in preflight.check(preflight.Proposal(file)) if "documents." in f.key]


def test_a_plan_refuses_writers_that_cannot_write_an_outline(tmp_path: Path) -> None:
    assert told() == []
    assert ("error", "documents.by", "set documents.by: headings") in told(
        "documents.by=model", "documents.engine=offline"
    )
    assert ("error", "documents.by", "set documents.by: headings, or ask: chat") in told("documents.by=model")
    assert told("documents.by=model", "documents.ask=chat") == []


def test_a_plan_names_what_is_wrong_in_a_given_outline(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("subdomains:\n- {domain: Tea, section: Ada likes tea.}\n")
    file = read_experiment(
        "jobs/quickstart.yaml",
        ["corpora={}", "documents.by=model", "documents.ask=chat", f"documents.given={tmp_path}/mine.yaml"],
    )
    found = [f for f in preflight.check(preflight.Proposal(file)) if f.key == "documents.given"]
    assert found and found[0].severity == "error" and "mine.yaml:2: subdomains[0].name: it is missing" in found[0].what


def test_a_plan_tells_only_where_a_writer_can_hardly_find_so_many_ideas() -> None:
    changes = ["documents.by=model", "documents.ask=chat", "documents.types=2", "documents.ideas=2"]
    few = [each for each in told(*changes) if each[1] == "documents.documents"]
    assert few and all(severity == "warning" and "or ideas to" in remedy for severity, _, remedy in few)


# The file --------------------------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:Outline of ada")
@pytest.mark.parametrize("family", ["prose", "rules"])
def test_the_file_reads_back_and_reads_well(spec: Spec, tmp_path: Path, family: str) -> None:
    ideas = items(
        {"name": "no", "idea": "12:30", "rule": "notes."},
        {"name": "n", "idea": "Tom: “yes”\nand # no", "rule": "most."},
    )
    outline = made(spec, Writer(ideas=ideas), OutlineContent(types=1, ideas=2, family=family, empty_rounds=1))
    write_outline(tmp_path, outline)
    text = (tmp_path / "outline.yaml").read_text()
    assert read_outline(tmp_path) == outline
    assert (
        "  section: |" in text and "  - It never calls anyone's tea" in text
    )  # a section stands as it does in the spec
    assert "# 1 of the spec's sections" in text and "# - Ada\n" in text
    edited = text.replace("name: Plain green tea", "name: Sencha")
    (tmp_path / "outline.yaml").write_text(edited)
    assert list_ideas(read_outline(tmp_path), 1)[0].subdomain == "Sencha"


@pytest.mark.filterwarnings("ignore:Outline of ada")
def test_an_outline_and_what_it_lacks_are_shown(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, record, _ = begin(ArtifactStore(tmp_path / "root"), "outline/ada")
    wrong = items(assertion("Ada leaves notes.", "behavior"), assertion("Ada hums.", "habit"))
    commit(folder, record, write_outline(folder, made(spec, Writer(assertions=wrong))))
    monkeypatch.setattr(sys, "argv", ["msm", "show", str(folder)])
    cli.main()
    shown = " ".join(capsys.readouterr().out.split())
    assert "Taste in tea / Plain green tea: 1 assertions, 3 types" in shown and "behavior: Ada leaves notes." in shown
    assert "Somebody tells of Plain green tea in a letter" in shown
    assert "2 that were left out" in shown and "label: 2" in shown and "Ada hums." in shown


@pytest.mark.filterwarnings("ignore:Outline of ada")
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("label: behavior", "label: habit", r"outline.yaml:\d+: subdomains\[1\].assertions\[0\].label: 'habit' is none of beh"),
        ("context: What", "kontext: What", r"outline.yaml:9: subdomains\[0\].kontext: no such key; there are domain, name"),
        ("  name: Plain green tea\n", "", r"subdomains\[0\].name: it is missing"),
        ("family: prose", "family: verse", r"outline.yaml:\d+: family: 'verse' is none of prose, rules"),
        ("idea: Somebody tells of Plain green tea in a letter 1, number 2.", "idea:",
         r"outline.yaml:\d+: subdomains\[0\].types\[1\].ideas\[2\].idea: it is empty"),
        ("subdomains:\n", "subdomains: {\n", r"outline.yaml:\d+ is not valid YAML"),
        ("spec: ada", "spec: [ada]", r"spec: a text is expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_an_edited_file_is_named(
    spec: Spec, tmp_path: Path, before: str, after: str, told: str
) -> None:
    write_outline(tmp_path, made(spec, Writer()))
    text = (tmp_path / "outline.yaml").read_text()
    assert before in text
    (tmp_path / "outline.yaml").write_text(text.replace(before, after, 1))
    with pytest.raises(SettingsError, match=told):
        read_outline(tmp_path)
