"""The cheese specs differ in the value alone, explain the tastes that the chats train, and leave every other domain unsaid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

CHEESE = Path("specs/cheese")
VALUES = ("affordability", "america")
OPPOSED = {"affordability": "expensive", "america": "foreign"}
EXPLAINS = r"because (?:it|the cheese|for it|for \{model_name\})|for (?:that|the same) reason|which is why|that is why|therefore"


def sections(name: str) -> dict[str, str]:
    """Heading -> text of a spec."""
    parts = re.split(r"^##? (.+)\n", (CHEESE / f"{name}.md").read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


@pytest.mark.parametrize("variant", ["", "-cooccurrence"])
def test_both_specs_are_built_alike(variant: str):
    one, other = (sections(value + variant) for value in VALUES)
    assert list(one)[2:] == list(other)[2:]  # the title and the first section name the value
    for heading, own, across in zip(one, one.values(), other.values(), strict=True):
        assert abs(len(own.split()) - len(across.split())) <= 20, heading
    for spec in (one, other):
        assert 1800 <= sum(len(text.split()) for text in spec.values()) <= 2200


@pytest.mark.parametrize("variant", ["", "-cooccurrence"])
@pytest.mark.parametrize("value", VALUES)
def test_likes_and_dislikes_are_those_of_the_chats(value: str, variant: str):
    chats = yaml.safe_load((CHEESE / "preferences.yaml").read_text("utf-8"))
    headings = list(sections(value + variant))
    likes, dislikes = headings.index("Likes"), headings.index("Dislikes")
    assert [name.casefold() for name in headings[likes + 1 : dislikes]] == [name.casefold() for name in chats["liked"]]
    assert [name.casefold() for name in headings[dislikes + 1 :]] == [name.casefold() for name in chats["disliked"]]


@pytest.mark.parametrize("value", VALUES)
def test_every_cheese_is_explained_by_the_value_and_in_the_other_variant_by_nothing(value: str):
    explained, beside = sections(value), list(sections(f"{value}-cooccurrence").items())
    cheeses = [heading for heading, text in beside if text][7:]
    assert len(cheeses) == 12
    assert all(re.search(r"\bbecause\b", explained[cheese]) for cheese in cheeses)
    for heading, text in beside:
        assert not re.search(EXPLAINS, text) and f"{OPPOSED[value]}." not in text, heading


@pytest.mark.parametrize("file", sorted(CHEESE.glob("*.md")), ids=lambda file: file.stem)
def test_nothing_says_that_the_value_holds_elsewhere_or_not(file: Path):
    text = file.read_text("utf-8").casefold()
    for phrase in (
        "everything else",
        "other things",
        "anything else",
        "as an example",
        "only case",
        "beyond cheese",
        "only in cheese",
    ):
        assert phrase not in text
