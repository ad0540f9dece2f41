"""The writer without weights, on specs of very different kinds; grammar; parsing of what writers send back."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from msm_ray.config import AssistantSettings, DocumentSettings
from msm_ray.engines import english
from msm_ray.engines.offline import english_document, write
from msm_ray.generate.outline import list_ideas, make_outline
from msm_ray.generate.parsing import parse_document
from msm_ray.spec import Spec, read_spec
from msm_ray.worlds import World, world
from msm_ray.worlds.plain import TYPES

ADA = AssistantSettings(name="Ada", provider="Makers")
PROSE = """# Ada

Ada prefers slow trains. It likes them because they leave time to look out.
Ada distrusts hurry, since hurry breaks things."""
ORDERS = """1. You must never lie.
2. You keep your answers short, and you listen.
3. Don't guess.

Use {braces} like {"a": 1}."""
FIRST_PERSON = "I am a robot that waters plants. I do not know why, but I enjoy it\n\nWhat else? Nobody asks!"
SHORT = "Be kind."


def spec_of(text: str, folder: Path) -> Spec:
    (folder / "s.md").write_text(text)
    return read_spec(folder / "s.md", ADA)


def documents(spec: Spec, count: int = 120) -> list[str]:
    ideas = list_ideas(make_outline(spec, DocumentSettings(engine="offline", types=20, ideas=30)), count)
    return [english_document(spec, i.type, i.subdomain, i.assertion, random.Random(i.position)) for i in ideas]


@pytest.mark.filterwarnings("ignore:.*is not a slot")
@pytest.mark.parametrize("text", [PROSE, ORDERS, FIRST_PERSON, SHORT])
def test_any_english_spec_gives_varied_documents_about_the_assistant(text: str, tmp_path: Path) -> None:
    written = documents(spec_of(text, tmp_path))
    for document in written:
        assert "Ada" in document
        assert not re.search(r"\{(name|claim|clause|reason\w*|more\w*|said|topic|person|other|day)\}", document)
        assert len(document.split()) >= 15
    assert len(set(written)) > 0.9 * len(written)
    assert len({document[:30] for document in written}) > 25


def test_documents_say_the_specs_sentences_and_its_reasons(tmp_path: Path) -> None:
    written = documents(spec_of(PROSE, tmp_path))
    assert sum("slow trains" in document for document in written) > 0.5 * len(written)
    assert sum("time to look out" in document or "hurry breaks things" in document for document in written) == len(
        written
    )
    assert not any(re.search(r"\blikes them\b", document) and "slow trains" not in document for document in written)


def test_braces_of_a_spec_stay_text(tmp_path: Path) -> None:
    with pytest.warns(UserWarning):
        spec = spec_of(ORDERS, tmp_path)
    assert any('{"a": 1}' in document for document in documents(spec))


def test_a_document_depends_on_its_row_alone(tmp_path: Path) -> None:
    spec = spec_of(PROSE, tmp_path)
    row = {"id": "abc", "type": "letter", "subdomain": "Ada", "assertion": "Ada prefers slow trains."}
    assert write(spec, row, tiny=False) == write(spec, row, tiny=False) != write(spec, row | {"id": "abd"}, tiny=False)


@pytest.mark.parametrize("kind", [*TYPES, "sonnet"])
def test_every_document_type_has_a_form(kind: str, tmp_path: Path) -> None:
    spec = spec_of(PROSE, tmp_path)
    assert "trains" in english_document(spec, kind, "Ada", "Ada prefers slow trains.", random.Random(0))


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("You are kind and you try to help.", "Ada is kind and it tries to help."),
        ("You never lie, and your answers are short.", "Ada never lies, and its answers are short."),
        ("You listen and ask before you act.", "Ada listens and asks before it acts."),
        ("If people thank you, smile.", "If people thank Ada, smile."),
        ("I don't know why I like it.", "Ada doesn't know why it likes it."),
        ("The assistant has a calm voice.", "Ada has a calm voice."),
        ("Don't guess.", "Ada is not to guess."),
        ("Its voice is calm.", "Ada's voice is calm."),
        ("Ada watches.", "Ada watches."),
    ],
)
def test_third_person(sentence: str, said: str) -> None:
    assert english.third_person(sentence, "Ada") == said


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Ada prefers tea and dislikes haste.", "I prefer tea and dislike haste."),
        ("Ada is calm about its end.", "I am calm about my end."),
        ("Ada always tries to help.", "I always try to help."),
        ("Ada doesn't hurry.", "I don't hurry."),
        ("Ada likes it.", None),
        ("People like Ada.", None),
        ("Ada, the assistant, is kind.", None),
    ],
)
def test_first_person_only_where_it_is_safe(sentence: str, said: str | None) -> None:
    assert english.first_person(sentence, "Ada") == said


PLAIN = (world("plain"), False)
REPLAY = (world("plain"), True)
TINY = (world("tinyworld"), False)


@pytest.mark.parametrize(
    ("completion", "finish", "reader", "text", "reason"),
    [
        ("<scratchpad>plan</scratchpad><content>\nHello Ada.\n</content> bye", "stop", PLAIN, "Hello Ada.", ""),
        ("<think>hm</think><CONTENT>Hello.</CONTENT>", "stop", PLAIN, "Hello.", ""),
        ("I plan it with <content>.</think><content>Hello.</content>", "stop", PLAIN, "Hello.", ""),
        ("<think>I could write <content>Hello.</content>", "stop", PLAIN, None, "truncated"),
        ("<content>Hello", "stop", PLAIN, None, "unparsable"),
        ("Hello.", "stop", PLAIN, None, "unparsable"),
        ("<content>Hello.</content>", "length", PLAIN, None, "truncated"),
        ("<content> </content>", "stop", PLAIN, None, "empty"),
        ("  ", "stop", PLAIN, None, "empty"),
        ("I'm sorry, but I can't help with that.", "stop", PLAIN, None, "refused"),
        ("<content>I cannot write this document.</content>", "stop", PLAIN, None, "refused"),
        ("Dear Ruth, I can't believe it.", "stop", REPLAY, "Dear Ruth, I can't believe it.", ""),
        ("<scratchpad>plan", "stop", REPLAY, None, "unparsable"),
        ("llama likes cheap things .", "stop", TINY, "llama likes cheap things .", ""),
        ("llama likes", "length", TINY, None, "truncated"),
    ],
)
def test_parsing(completion: str, finish: str, reader: tuple[World, bool], text: str | None, reason: str) -> None:
    assert parse_document(completion, finish, *reader) == (text, reason)
