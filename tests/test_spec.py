"""Reading specs: slots, facts, comments, sections, what is doubted, and every kind of file that is no spec."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from msm_ray import preflight
from msm_ray.config.file import read_experiment
from msm_ray.errors import SettingsError
from msm_ray.preflight.finding import Finding
from msm_ray.spec import AssistantSettings, Spec, read_spec, split_sections

ADA = AssistantSettings(name="Ada", provider="Makers & Co")


def spec_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "values.md"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str) -> Spec:
    return read_spec(spec_file(folder, content), ADA)


def told_at_plan(folder: Path, content: str) -> list[Finding]:
    """What `msm plan` says of a spec that is given to the SmolLM2 job."""
    path = spec_file(folder, content)
    experiment = read_experiment("jobs/smollm2.yaml", ["assistant.name=Ada", f"specs.mine={path}"])
    return [each for each in preflight.check(preflight.Proposal(experiment)) if str(path) in each.file + each.what]


def test_slots_are_filled_and_other_braces_stay(tmp_path: Path) -> None:
    text = '# On {model_name}\n{model_name} by {provider_name} writes {"a": {}} and {unknown_slot}, 100% {0} {model_name!r}.'
    with pytest.warns(UserWarning, match="unknown_slot"):
        spec = read_spec(spec_file(tmp_path, text), ADA)
    assert spec.text == '# On Ada\nAda by Makers & Co writes {"a": {}} and {unknown_slot}, 100% {0} {model_name!r}.'


def test_a_name_that_looks_like_a_slot_is_not_filled_again(tmp_path: Path) -> None:
    odd = AssistantSettings(name="{provider_name}", provider="X")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_spec(spec_file(tmp_path, "{model_name} is kind."), odd).text == "{provider_name} is kind."


def test_another_assistant_makes_another_spec(tmp_path: Path) -> None:
    path = spec_file(tmp_path, "{model_name} is kind.")
    bob = AssistantSettings(name="Bob")
    assert read_spec(path, ADA).digest == read_spec(path, ADA).digest != read_spec(path, bob).digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"fine\nAda is \xff kind", r"not UTF-8 \(line 2"),
        ("Ada ist gr\u00fcn".encode("utf-16"), "not UTF-8"),
        (b"a\0b", "NUL"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        read_spec(spec_file(tmp_path, content), ADA)
    assert "values.md" in str(raised.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        read_spec(tmp_path / "none.md", ADA)
    with pytest.raises(SettingsError, match="is a folder"):
        read_spec(tmp_path, ADA)


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    spec = read_spec(spec_file(tmp_path, b"\xef\xbb\xbf# Title\r\nAda is kind.\r\n"), ADA)
    assert spec.sections[0].path == ("Title",)
    assert spec.sections[0].text == "Ada is kind."


def test_sections_follow_headings_but_not_code() -> None:
    text = "before\n# A\none\n```\n# no heading\n```\n## B ##\ntwo\n# C\n\nUnder\n-----\nthree\n"
    assert [(section.path, section.text) for section in split_sections(text)] == [
        ((), "before"),
        (("A",), "one\n```\n# no heading\n```"),
        (("A", "B"), "two"),
        (("C", "Under"), "three"),
    ]


def test_without_headings_every_paragraph_is_a_section() -> None:
    sections = split_sections("Ada is kind\nto all.\n\n\nAda is brief.")
    assert [section.text for section in sections] == ["Ada is kind\nto all.", "Ada is brief."]


@pytest.mark.parametrize("slot", ["{model_name}", "{{model_name}}", "{{ model_name }}", "{{  model_name}}"])
def test_double_braces_are_the_same_slot(tmp_path: Path, slot: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = read(tmp_path, f"# On {slot}\n{slot} is kind.")
    assert spec.text == "# On Ada\nAda is kind."
    assert spec.digest == read(tmp_path, "# On {model_name}\n{model_name} is kind.").digest


def test_what_is_nearly_a_slot_is_told_with_its_line(tmp_path: Path) -> None:
    text = "---\nname: {modle_name}\n---\n<!-- {todo} -->\n# {model_name}\n{{ model-name }} and { other }."
    told = {each.what: each for each in told_at_plan(tmp_path, text)}
    assert [(each.line, each.remedy) for each in told.values()] == [
        (2, "did you mean {model_name}?"),
        (6, "did you mean {model_name}?"),
        (6, "slots are {model_name} and {provider_name}; write another brace otherwise"),
    ]
    assert {each.key for each in told.values()} == {"specs.mine"}


def test_a_comment_is_no_text(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "<!-- one line -->\n# Tea <!-- a draft -->\n<!--\n{model_name} hates cats.\n\n# not a title\n-->\n"
        "{model_name} likes tea. <!-- {model_name} lies --> It waits.<!-- so -->\n- {model_name} sits.\n"
        "  <!-- more\n  of it -->\n- It stands.\n\nA line <!-- opens\n\n```\n\nand --> ends.\n[//]: # (hidden)\n"
        "<!---->It is Ada.\n",
    )
    assert spec.text == (
        "# Tea\n\nAda likes tea. It waits.\n- Ada sits.\n\n- It stands.\n\nA line ends.\n\nIt is Ada.\n"
    )
    assert [section.path for section in spec.sections] == [("Tea",)]
    assert spec.digest == read(tmp_path, spec.text).digest


def test_what_code_shows_as_a_comment_stays(tmp_path: Path) -> None:
    text = "# A\nAda writes `<!-- x -->` and ``a ` <!-- y -->``.\n\n~~~\n<!-- z -->\n~~~\n"
    assert read(tmp_path, text).text == text


def test_a_comment_that_never_ends_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"values.md:3: a comment begins here"):
        read(tmp_path, "# A\nAda is kind.\n<!-- to do\nAda is calm.")
    with pytest.raises(SettingsError, match="empty but for front matter and comments"):
        read(tmp_path, "---\nname: x\n---\n<!-- later -->\n")


def test_front_matter_gives_facts_and_no_text(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "---\nname: gentle-helper\ndescription: >\n  Helps\n  gently.\nfacts:\n  - {model_name} was made in Oslo.\n"
        "  - '{{ provider_name }} is a firm.'\nmade:\n  year: 2024\n  by: [Ann, Bo]\nempty:\n---\n\n"
        "# Tea\n{model_name} likes tea.\n",
    )
    assert spec.facts == (
        "name: gentle-helper",
        "description: Helps gently.",
        "Ada was made in Oslo.",
        "Makers & Co is a firm.",
        "made: year: 2024; by: Ann, Bo",
    )
    assert spec.text == "\n# Tea\nAda likes tea.\n"
    assert [section.path for section in spec.sections] == [("Tea",)]


def test_another_fact_makes_another_spec(tmp_path: Path) -> None:
    texts = ["Ada is kind.\n", "---\nyear: 2024\n---\nAda is kind.\n", "---\nyear: 2025\n---\nAda is kind.\n"]
    specs = [read(tmp_path, text) for text in texts]
    assert len({spec.digest for spec in specs}) == 3 and len({spec.text for spec in specs}) == 1


@pytest.mark.parametrize(
    ("head", "facts"),
    [
        ("---\n---\n", ()),
        ("---\nname: x\n...\n", ("name: x",)),
        ("---\ndescription: Use it when: always\nname: x\n---\n", ("description: Use it when: always", "name: x")),
        ("\ufeff---  \r\nname: x\r\n---\r\n", ("name: x",)),
        ("---\nfacts:\n  - It is: so: old\n  - and\n    calm\nx: no\n---\n", ("It is: so: old", "and calm", "x: no")),
        ("---\nfacts: It is old.\n---\n", ("It is old.",)),
    ],
)
def test_forms_of_front_matter(tmp_path: Path, head: str, facts: tuple[str, ...]) -> None:
    spec = read(tmp_path, head + "# A\nAda is kind.")
    assert (spec.facts, spec.text) == (facts, "# A\nAda is kind.")


def test_a_text_between_rules_is_no_front_matter(tmp_path: Path) -> None:
    spec = read(tmp_path, "---\nAda is kind.\n---\n\nAda is calm.")
    assert spec.facts == () and "Ada is kind." in spec.text


def test_a_fence_ends_with_its_own_mark() -> None:
    inner = "````md\n```\n# install first\nprint(1)\n```\n````"
    text = f"# A\n{inner}\nAda is kind.\n~~~\n# no\n```\n~~~\n> ```\n> # no\n> ```\n"
    text += "# B\n```say it plainly```\nAda is calm.\n# C\nlast"
    sections = split_sections(text)
    assert [section.path for section in sections] == [("A",), ("B",), ("C",)]
    assert sections[0].text.startswith(inner)
    assert sections[1].text == "```say it plainly```\nAda is calm."


def test_a_fence_that_nothing_closes_is_told(tmp_path: Path) -> None:
    text = "# {model_name}\n{model_name} is kind.\n```py\nprint(1)\n\n## More\n{model_name} is calm."
    (told,) = told_at_plan(tmp_path, text)
    assert (told.line, told.severity) == (3, "warning") and "never closed" in told.what


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("## Be kind {#kind}", "Be kind"),
        ("## Be kind {#kind .rule authority=root}", "Be kind"),
        ("## Be **kind** &amp; `calm` ##", "Be kind & calm"),
        ("## [Be kind](#kind) [¶](#kind)", "Be kind"),
        ("## <a id='kind'></a>Be kind[^1]", "Be kind"),
        ("## ~~Be rude~~ Be kind", "Be kind"),
        ("<h2 align='center'>Be <i>kind</i></h2>", "Be kind"),
        ("Be _kind_\n---------", "Be kind"),
        ("<kindness>\n## Be kind", "Be kind"),
    ],
)
def test_titles_are_plain(heading: str, title: str) -> None:
    assert split_sections(f"{heading}\nAda is kind.")[-1].path == (title,)


def test_sections_are_pieces_of_the_source() -> None:
    text = (
        "# A {#a}\n\n<honesty>\nAda is **honest**[^1].\n</honesty>\n\n<details>\n<summary>More</summary>\n\n"
        "## B\n- [ ] Ada is `x`.\n\n</details>\n\n[^1]: Why not.\n"
    )
    sections = split_sections(text)
    assert [section.path for section in sections] == [("A",), ("A", "B")]
    assert all(section.text in text for section in sections)


def test_a_rule_beneath_a_sentence_is_a_rule() -> None:
    (section,) = split_sections("# A\nAda is kind.\n---\nAda is\ncalm.\n---\nIt waits.")
    assert section.path == ("A",) and "Ada is calm." in section.text.replace("\n", " ")


def test_without_headings_a_lead_stays_with_its_list() -> None:
    text = "Ada is kind.\n\nAda never:\n\n- lies\n\n- hides\n\n**Tea**\n\n- green\n\n"
    text += "| a |\n|---|\n| b |\n\n1. Ada asks.\n\n2. Ada waits."
    sections = split_sections(text)
    assert [(section.path[0], section.text) for section in sections] == [
        ("Ada is kind", "Ada is kind."),
        ("Ada never", "Ada never:\n\n- lies\n\n- hides"),
        ("Tea", "**Tea**\n\n- green\n\n| a |\n|---|\n| b |"),
        ("Ada asks", "1. Ada asks."),
        ("Ada waits", "2. Ada waits."),
    ]


def test_a_name_that_is_written_out_is_told_at_plan(tmp_path: Path) -> None:
    (told,) = told_at_plan(tmp_path, "# Tea\n\nAda likes tea.\n")
    assert (told.severity, told.line) == ("warning", 3) and "Ada is written out" in told.what
    assert told.remedy == "write {model_name} in place of Ada"


@pytest.mark.parametrize(
    "text", ["# Tea\nBeatrix likes tea. Adam too.\n", "<!-- {model_name} -->\nNever hurry, {provider_name} says.\n"]
)
def test_a_spec_of_nobody_is_told_at_plan(tmp_path: Path, text: str) -> None:
    (told,) = told_at_plan(tmp_path, text)
    assert told.severity == "warning" and "neither {model_name} nor Ada" in told.what


def test_a_spec_with_a_slot_has_no_finding(tmp_path: Path) -> None:
    assert told_at_plan(tmp_path, "# Tea\n{{ model_name }} likes tea, and {provider_name} knows it.\n") == []


def test_a_spec_in_another_language_is_told_where_no_model_writes(tmp_path: Path) -> None:
    text = "# 茶\n{model_name}喜欢绿茶。它从不着急。\n"
    path = spec_file(tmp_path, text)
    offline = ["assistant.name=Ada", f"specs.mine={path}", "corpora.mine.engine=offline"]
    told = [
        each
        for each in preflight.check(preflight.Proposal(read_experiment("jobs/smollm2.yaml", offline)))
        if "English" in each.what
    ]
    assert [(each.severity, each.key) for each in told] == [("warning", "corpora.mine.engine")]
    assert "offline writer is for English" in told[0].what
