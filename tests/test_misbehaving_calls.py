"""An outline and chats of a model that misbehaves in every call: what comes out is exactly what must come of its ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from misbehaving_calls import LISTS, OF_CHATS, RESPONSES, VERDICTS, List, Taken
from misbehaving_scene import LABELS, SECTIONS, SPEC, Scene, good, must_come
from scripted_writer import by_words
from stand_in import Model

from msm_ray.errors import MsmError
from msm_ray.generate.calls import Asked
from msm_ray.generate.calls.answers import Answers, read_answer
from msm_ray.generate.outline import Outline, OutlineContent, list_ideas, outline_conversation
from msm_ray.generate.outline.answers import key_of
from msm_ray.generate.written_chats import ChatsFound, WrittenChats, chats_conversation, write_found
from msm_ray.generate.written_chats.found import NO_USABLE_ANSWER
from msm_ray.rows.files import as_unicode
from msm_ray.rows.tables import read_rows, read_table_rows
from msm_ray.spec import AssistantSettings, Spec, read_spec


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "ada.md").write_text(SPEC)
    return read_spec(tmp_path / "ada.md", AssistantSettings(name="Ada", provider="Loom"))


# An outline ------------------------------------------------------------------------------------------------------------
LEVELS = ("domains", "subdomains", "assertions", "types", "ideas")
SALTS = 16
HOW = OutlineContent(types=3, ideas=4)


def outline(out: Path, spec: Spec, salt: str) -> Scene:
    return Scene(out, partial(outline_conversation, spec, HOW), salt)


def same(found: Outline | MsmError, expected: Outline | MsmError) -> bool:
    """Equal outlines and accounts, what was left out by its reasons; errors by their kind and words."""
    if isinstance(found, MsmError) or isinstance(expected, MsmError):
        return type(found) is type(expected) and str(found) == str(expected)
    left_out = [[(e.level, e.about, e.reason) for e in each.account.rejected] for each in (found, expected)]
    rest = [(each.account.tallies, each.account.not_covered) for each in (found, expected)]
    return found == expected and left_out[0] == left_out[1] and rest[0] == rest[1]


def test_every_outline_is_exactly_what_must_come_of_the_answers(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, set[str]] = {level: set() for level in LEVELS}
    ended = whole = 0
    for salt in map(str, range(SALTS)):
        scene = outline(tmp_path / salt, spec, salt)
        Model(monkeypatch, scene.says)
        found = scene.held()
        assert same(found, scene.expected()), salt
        assert scene.answers() == scene.expected_answers()
        for level in LEVELS:
            drawn[level] |= scene.drawn(level)
        if isinstance(found, MsmError):
            ended += 1
            continue
        whole += 1
        check_outline(found)
    assert whole > SALTS / 2 and whole + ended == SALTS
    assert len(drawn["domains"]) > 8 and all(len(drawn[level]) > 20 for level in LEVELS[1:])
    assert set.union(*drawn.values()) == {way.name for way in LISTS}


def check_outline(found: Outline) -> None:
    """Whatever was answered: sections in the spec's words, no doubles, no more than wanted, nothing that was left out."""
    sections = [text for texts in SECTIONS.values() for text in texts]
    assert len({each.section for each in found.subdomains}) == len(found.subdomains)
    for each in found.subdomains:
        assert each.section in sections and 1 <= len(each.types) <= HOW.types and 1 <= len(each.assertions) <= 3
        assert {said.label for said in each.assertions} <= set(LABELS[:3])
        for texts in ([said.text for said in each.assertions], [kind.name for kind in each.types]):
            assert len(set(map(key_of, texts))) == len(texts)
        for kind in each.types:
            assert 1 <= len(kind.ideas) <= HOW.ideas and len({key_of(idea.text) for idea in kind.ideas}) == len(
                kind.ideas
            )
    text = str(found.subdomains)
    assert not any(wrong in text for wrong in ("A draft", "nobody ever wrote", "None", "I'm sorry", "\\ud83d"))


def ideas_in(found: Outline | MsmError) -> int:
    return len(list_ideas(found, 1000)) if isinstance(found, Outline) else 0


@pytest.mark.parametrize("order", ["backwards", "by hash"])
@pytest.mark.parametrize("dies", [{"dies_after": 3}, {"dies_after": 40}, {"writes": 1}, {"writes": 4}])
def test_an_outline_is_the_same_in_another_order_and_after_a_kill(
    order: str, dies: dict[str, int], spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    salt = max(map(str, range(30)), key=lambda salt: ideas_in(outline(tmp_path, spec, salt).expected()))
    scene = outline(tmp_path / "out", spec, salt)
    model = Model(monkeypatch, scene.says, order)
    model.killed(scene.held, **dies)
    assert same(scene.held(), scene.expected())
    assert scene.answers() == scene.expected_answers()
    asked = len(model.asked)
    assert same(scene.held(), scene.expected()) and len(model.asked) == asked  # all of it is settled


# Chats -----------------------------------------------------------------------------------------------------------------
CHATS = WrittenChats(count=40, votes=3, voted=0.5)


def chats(out: Path, spec: Spec, salt: str) -> Scene:
    return Scene(out, partial(chats_conversation, spec, CHATS, by_words), salt)


def as_told(found: ChatsFound) -> ChatsFound:
    """Items that were left out are compared by their reason: how they are shown is another matter."""
    shown = [
        replace(each, question=replace(each.question, text="")) if each.reason in ("kind", "field missing", "too long") else each
        for each in found.rejected
    ]  # fmt: skip
    return replace(found, rejected=tuple(shown))


def sets_on_disk(out: Path) -> tuple[set[str], dict[str, str]]:
    """Kept ids, and rejected ids with their reasons."""
    rejected = out / "rejected.parquet"
    rows = read_table_rows(rejected, ["id", "reason"]) if rejected.exists() else []
    return {row["id"] for row in read_rows(out / "data")}, {row["id"]: row["reason"] for row in rows}


def must_be_kept(scene: Scene) -> dict[str, bool]:
    """Question -> whether its chat is kept: its answer can be used, and more judgements that can be read are for it than not."""
    told: dict[str, bool] = {}
    for asked in scene.of("responses"):
        question, value = asked.values["question"], must_come(asked, scene.salt)[0]
        judged = [each for each in scene.of("filter") if value and each.values["question"] == question]
        verdicts = [verdict for each in judged if (verdict := must_come(each, scene.salt)[0])]
        told[question] = sum(1 if verdict.include else -1 for verdict in verdicts) > 0
    return told


def test_exactly_the_chats_that_must_be_kept_are_kept(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, set[str]] = {call: set() for call in ("questions", "responses", "filter")}
    for salt in "abcd":
        scene = chats(tmp_path / salt, spec, salt)
        Model(monkeypatch, scene.says)
        found, expected = scene.held(), scene.expected()
        if isinstance(expected, MsmError):
            assert type(found) is type(expected) and str(found) == str(expected)
            continue
        assert as_told(found) == as_told(expected)
        assert scene.answers() == scene.expected_answers()
        kept = {each.question.text for each in found.kept}
        assert kept == {question for question, is_kept in must_be_kept(scene).items() if is_kept}
        assert all(each.question.text != each.reason.removeprefix("duplicate of: ") for each in found.rejected)
        assert len(kept) == len(found.kept)
        check_rejected(scene, found, spec)
        for call in drawn:
            drawn[call] |= scene.drawn(call)
    assert drawn["responses"] == {way.name for way in RESPONSES} and drawn["filter"] == {way.name for way in VERDICTS}
    assert len(drawn["questions"]) > 20


def check_rejected(scene: Scene, found: ChatsFound, spec: Spec) -> None:
    """A chat without an answer says on disk why the last one could not be used."""
    write_found(scene.out, "ada", found, spec, CHATS, Answers(scene.out).by_request)
    rows = read_table_rows(scene.out / "rejected.parquet")
    said = {row["messages"][0]["content"]: row["reason"] for row in rows}
    unanswered = {each.question.text for each in found.rejected if each.reason == NO_USABLE_ANSWER}
    fates = {each.values["question"]: must_come(each, scene.salt) for each in scene.of("responses")}
    assert unanswered == {question for question, (value, _) in fates.items() if value is None}
    assert {question: said[question] for question in unanswered} == {each: fates[each][1][-1] for each in unanswered}


@pytest.mark.parametrize("order", ["backwards", "by hash"])
@pytest.mark.parametrize("dies", [{"dies_after": 60}, {"writes": 6}])
def test_chats_are_the_same_in_another_order_and_after_a_kill(
    order: str, dies: dict[str, int], spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    salt = next(salt for salt in "abcdefgh" if isinstance(chats(tmp_path, spec, salt).expected(), ChatsFound))
    scene, straight = chats(tmp_path / "out", spec, salt), chats(tmp_path / "straight", spec, salt)
    model = Model(monkeypatch, scene.says, order)
    model.killed(scene.held, **dies)
    found = scene.held()
    assert as_told(found) == as_told(scene.expected())
    assert scene.answers() == scene.expected_answers()
    Model(monkeypatch, straight.says)
    for each in (scene, straight):
        write_found(each.out, "ada", each.held(), spec, CHATS, Answers(each.out).by_request)
    assert sets_on_disk(scene.out) == sets_on_disk(straight.out)
    assert all(sets_on_disk(scene.out))


# Every way of every list -----------------------------------------------------------------------------------------------
def first_of_each(spec: Spec) -> Iterator[Asked]:
    """A request of each call for a list, as a model that behaves comes to them."""
    seen = set()
    for conversation in (outline_conversation(spec, HOW), chats_conversation(spec, CHATS, by_words)):
        asked = next(conversation)
        while isinstance(good(asked[0]), List):
            if asked[0].call.name not in seen:
                yield asked[0]
            seen.add(asked[0].call.name)
            values = [read_answer(each, {"raw": good(each).json(), "finish_reason": "stop"})[0] for each in asked]
            try:
                asked = conversation.send(values)
            except StopIteration:
                break


@pytest.mark.parametrize("count", [1, 3])
def test_each_way_of_a_list_is_read_as_it_must_be(count: int, spec: Spec) -> None:
    calls = list(first_of_each(spec))
    assert {each.call.name for each in calls} == {*LEVELS, *OF_CHATS}
    for asked in calls:
        for way in LISTS:
            said = good(asked)
            said = replace(said, items=said.items[:count])
            raw, finish = way.raw(said)
            found = read_answer(asked, {"raw": as_unicode(raw), "finish_reason": finish})
            assert told(*found) == told(*way.comes(said)), (asked.call.name, way.name)


def told(value: Any, reason: str) -> tuple[Any, ...]:
    """What was read, or is to be, in one form."""
    if value is None:
        return (reason,)
    left_out = value.left_out if isinstance(value, Taken) else tuple(why for why, _ in value.left_out)
    return value.items, left_out, getattr(value, "mended", ()) and value.mended
