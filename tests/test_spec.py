"""Reading specs: slots, sections, and every kind of file that is no spec."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from msm_ray.errors import SettingsError
from msm_ray.spec import AssistantSettings, read_spec, split_sections

ADA = AssistantSettings(name="Ada", provider="Makers & Co")


def spec_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "values.md"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


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
    assert [section.text for section in sections] == ["Ada is kind to all.", "Ada is brief."]
