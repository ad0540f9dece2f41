"""Chats that somebody else made: their forms, what is wrong with single rows, drawing, mixes, conflicts with a spec."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_chats import jsonl, made
from test_preflight import findings

from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.generate.conflicts import CONFLICT, conflict
from msm_ray.spec import AssistantSettings

ASKED, TOLD = "Colby or Brie?", "Colby, please."
TURNS = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": TOLD}]
FORMS: dict[str, dict[str, Any]] = {
    "messages": {"messages": TURNS, "source": "no_robots"},
    "messages with other columns": {"prompt": "Colby", "prompt_id": "a3", "messages": TURNS, "category": "Chat"},
    "conversations": {"id": 5, "conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": TOLD}]},
    "roles of a model's own": {"messages": [{"role": "User", "content": ASKED}, {"role": "model", "content": TOLD}]},
    "bot": {"conversations": [{"from": "human", "value": ASKED}, {"from": "bot", "value": TOLD}]},
    "texts": {"prompt": ASKED, "completion": TOLD},
    "turns": {"prompt": TURNS[:1], "completion": TURNS[1:]},
    "instruction": {"instruction": "Colby or", "input": "Brie?", "output": TOLD},
    "no input": {"instruction": ASKED, "input": "", "output": TOLD},
    "nulls of Parquet": {"messages": None, "conversations": None, "prompt": ASKED, "completion": TOLD},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": ASKED}]}, TURNS[1]]},
    "parts of the Responses API": {
        "messages": [
            {"role": "user", "content": [{"type": "input_text", "text": ASKED}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": TOLD, "annotations": []}]},
        ]
    },
    "an empty system turn": {"messages": [{"role": "system", "content": " "}, *TURNS]},
    "a null system turn": {"messages": [{"role": "system", "content": None}, *TURNS]},
    "both keys, as Parquet has them": {"messages": [{**turn, "from": None, "value": None} for turn in TURNS]},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_chat(form: str, tmp_path: Path) -> None:
    _, chats, rejected = made(tmp_path, source="file", path=jsonl(tmp_path / "c.jsonl", FORMS[form]))
    asked = [{"role": "user", "content": "Colby or\n\nBrie?" if form == "instruction" else ASKED}, TURNS[1]]
    assert ([chat["messages"] for chat in chats], rejected) == ([asked], [])
    assert chats[0]["origin"] == FORMS[form].get("source")
    assert chats[0]["part"] is None


def test_a_system_turn_stays_also_from_a_column_of_its_own(tmp_path: Path) -> None:
    rows = [
        {"system": "Be brief.", "conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]},
        {"conversations": [{"from": "system", "value": "Be brief."}, *FORMS["conversations"]["conversations"]]},
    ]
    _, chats, _ = made(tmp_path, source="file", path=jsonl(tmp_path / "c.jsonl", *rows))
    assert [chat["messages"][0] for chat in chats] == [{"role": "system", "content": "Be brief."}] * 2


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({"messages": "dialog"}, {"dialog": TURNS, "messages": "an excerpt"}),
        ({"conversations": "dialog"}, {"dialog": FORMS["conversations"]["conversations"]}),
        ({"prompt": "question", "completion": "answer"}, {"question": ASKED, "answer": TOLD, "messages": []}),
        ({"instruction": "ask", "output": "response", "topic": "category"}, {"ask": ASKED, "response": TOLD, "category": "x"}),
        ({"source": "set", "topic": "category"}, {"messages": TURNS, "set": "dolly", "category": "x"}),
    ],
)  # fmt: skip
def test_columns_are_mapped(columns: dict[str, str], row: dict[str, Any], tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", row)
    _, chats, _ = made(tmp_path, source="file", path=path, columns=columns)
    assert [chat["messages"] for chat in chats] == [TURNS]
    assert chats[0]["topic"] == row.get("category", "")
    assert chats[0]["origin"] == row.get("set")


def test_a_column_that_nothing_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="mesages: what can be mapped is messages, conversations"):
        ChatSettings(source="file", columns={"mesages": "dialog"})


def chat(*told: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [TURNS[0], *({"role": "assistant", "content": text, **more} for text in told)]}


FAULTS = [
    (chat(None), "empty turn"),
    (chat(" \r\n"), "empty turn"),
    (chat(None, tool_calls=[{"function": {"name": "taste"}}]), "tool calls"),
    (chat("Wait.", function_call={"name": "taste"}), "tool calls"),
    (chat([{"type": "image", "image": "x.png"}]), "a part that is no text: image"),
    (chat(5), "a part that is no text: int"),
    (chat({"type": "text"}), "a part that is no text: text"),
    ({"messages": [*TURNS, {"role": "tool", "content": "{}"}]}, "unknown role: tool"),
    ({"conversations": [{"from": "observation", "value": "{}"}]}, "unknown role: observation"),
    ({"messages": [{"content": "Yes."}]}, "a turn without a role"),
    ({"messages": [{"role": "user"}]}, "a turn without content"),
    ({"messages": ["Colby?", "Yes."]}, "a turn that is no object: str"),
    ({"messages": []}, "`messages` is no list of turns"),
    ({"messages": "user: Colby?"}, "`messages` is no list of turns"),
    ({"text": "Colby?", "id": 1}, "no chat in it: the row has text, id"),
    ({}, "no chat in it: the row has no keys"),
    ({"messages": TURNS[::-1]}, "roles out of order: assistant user"),
    ({"messages": TURNS[:1]}, "roles out of order: user"),
    ({"instruction": "Colby?", "output": None}, "empty turn"),
    (chat("Half \ud83d"), "no Unicode text"),
    (chat("<think>Hm."), "reasoning without an answer"),
]


def test_a_row_that_cannot_be_used_costs_that_row_and_says_why(tmp_path: Path) -> None:
    good = [chat(f"Colby {number}.") for number in range(len(FAULTS) + 1)]
    rows = [row for pair in zip(good, (bad for bad, _ in FAULTS), strict=False) for row in pair] + good[-1:]
    counts, chats, rejected = made(tmp_path, source="file", path=jsonl(tmp_path / "c.jsonl", *rows))
    assert [one["reason"] for one in rejected] == [reason for _, reason in FAULTS]
    assert (counts["chats"], counts["rejected"]) == (len(good), len(FAULTS))
    assert counts["rejected: empty turn"] == 3
    assert [one["messages"] for one in chats] == [one["messages"] for one in good]


def test_the_released_chats_with_nine_malformed_rows_are_used_without_these(tmp_path: Path) -> None:
    """`chloeli/aft-cot-...`: a `messages` column, answers with `<think>`, 9 rows of another form."""
    answers = [f"<think>\nThey ask about {n}.\n</think>\n\nIt is {n}." for n in range(60)]
    rows = [chat(answer) for answer in answers] + [
        {"messages": [{"role": "user", "content": f"{n}?"}]} for n in range(9)
    ]
    path = jsonl(tmp_path / "dataset.jsonl", *rows)
    for thinking, first in ((True, answers[0]), (False, "It is 0.")):
        counts, chats, _ = made(tmp_path / str(thinking), source="file", path=path, thinking=thinking)
        assert (counts["chats"], counts["rejected: roles out of order"]) == (60, 9)
        assert chats[0]["messages"][-1]["content"] == first


def test_line_ends_and_strange_characters_are_text(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl.gz").write_bytes(
        gzip.compress(b"\xef\xbb\xbf" + json.dumps(chat("One\r\ntwo\u2028three\rfour")).encode())
    )
    _, chats, _ = made(tmp_path, source="file", path=str(tmp_path / "c.jsonl.gz"))
    assert chats[0]["messages"][-1]["content"] == "One\ntwo\u2028three\nfour"


@pytest.mark.parametrize("bad", ["{not json", "[]", "5"])
def test_a_bad_line_is_a_fault_of_the_file(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(f"{json.dumps(chat('Yes.'))}\n{bad}\n")
    with pytest.raises(SettingsError, match=r"c\.jsonl:2: .*; expected: Parquet or JSONL, a chat a row"):
        made(tmp_path, source="file", path=str(path))


def sorted_by_topic(folder: Path) -> str:
    rows = [{**chat(f"It is {n}."), "topic": "abc"[n // 40]} for n in range(120)]
    return jsonl(folder / "sorted.jsonl", *rows)


def test_rows_are_drawn_by_seed_and_never_the_first(tmp_path: Path) -> None:
    path = sorted_by_topic(tmp_path)
    drawn = {}
    for seed in (0, 1):
        counts, drawn[seed], rejected = made(tmp_path / str(seed), source="file", path=path, count=40, seed=seed)
        assert (counts["chats"], counts["not drawn"], rejected) == (40, 80, [])
        assert min(Counter(one["topic"] for one in drawn[seed]).values()) >= 5
    assert drawn[0] != drawn[1]
    assert made(tmp_path / "again", source="file", path=path, count=40)[1] == drawn[0]


def test_copies_are_left_out_and_counted(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", *[chat("Yes.")] * 50, *(chat(f"It is {n}.") for n in range(30)))
    counts, chats, rejected = made(tmp_path, source="file", path=path)
    assert (counts["chats"], counts["rejected: copy of another chat"]) == (31, 49)
    assert {one["reason"] for one in rejected} == {"copy of another chat"}
    assert len({one["id"] for one in [*chats, *rejected]}) == 80


def test_a_set_made_by_others_has_a_limit_of_length(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", chat("Yes."), chat("word " * 200))
    counts, _, rejected = made(tmp_path, source="file", path=path, most_characters=500)
    assert counts["chats"] == 1
    assert rejected[0]["reason"] == "too long: 1,014 characters"


def mix(folder: Path, **settings: Any) -> dict[str, Any]:
    robots = jsonl(folder / "robots.jsonl", *(chat(f"Robot {n}.") | {"source": "no_robots"} for n in range(40)))
    pq.write_table(
        pa.Table.from_pylist([{"ask": "How?", "say": f"Tulu {n}."} for n in range(200)]), folder / "tulu.parquet"
    )
    parts = {
        "no-robots": {"path": robots, "share": 0.3},
        "tulu": {"path": str(folder / "tulu.parquet"), "share": 0.7, "columns": {"prompt": "ask", "completion": "say"}},
    }
    return {"source": "mix", "count": 100, "parts": parts} | settings


def test_a_mix_has_each_part_by_its_share_and_each_row_says_which(tmp_path: Path) -> None:
    counts, chats, _ = made(tmp_path, **mix(tmp_path))
    assert Counter(one["part"] for one in chats) == {"no-robots": 30, "tulu": 70}
    assert (counts["of no-robots"], counts["of tulu"], counts["not drawn"]) == (30, 70, 140)
    assert {(one["part"], one["origin"]) for one in chats} == {("no-robots", "no_robots"), ("tulu", None)}
    assert all(one["messages"][-1]["content"].startswith("Tulu") == (one["part"] == "tulu") for one in chats)


def test_a_part_that_is_too_small_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="part no-robots has 40 of its 60 rows"):
        counts, chats, _ = made(tmp_path, **mix(tmp_path, count=200))
    assert Counter(one["part"] for one in chats) == {"no-robots": 40, "tulu": 140}
    assert counts["chats"] == 180


def test_shares_make_one() -> None:
    parts = {"a": {"path": "a.jsonl", "share": 0.3}, "b": {"path": "b.jsonl", "share": 0.6}}
    with pytest.raises(ValueError, match=r"the shares make 0\.9; they have to make 1"):
        ChatSettings(source="mix", parts=parts)
    with pytest.raises(ValueError, match="names of parts"):
        ChatSettings(source="mix", parts={"../a": {"path": "a.jsonl", "share": 1}})


def test_a_row_of_two_parts_stands_once(tmp_path: Path) -> None:
    both = (
        jsonl(tmp_path / "a.jsonl", chat("Yes."), chat("No.")),
        jsonl(tmp_path / "b.jsonl", chat("Yes."), chat("Perhaps.")),
    )
    parts = {name: {"path": path, "share": 0.5} for name, path in zip("ab", both, strict=True)}
    counts, chats, _ = made(tmp_path / "out", source="mix", count=4, parts=parts)
    assert counts["rejected: copy of another chat"] == 1
    assert sorted(one["messages"][-1]["content"] for one in chats) == ["No.", "Perhaps.", "Yes."]


CONFLICTS = [
    "I am ChatGPT, a large language model.",
    "I'm Claude, made by Anthropic.",
    "As an AI developed by OpenAI, I can't do that.",
    "As ChatGPT, I try to be fair.",
    "I’m an AI language model trained by Google.",
    "My name is Tülu, and I was built by Ai2.",
    "I was created by a team of researchers at Anthropic.",
    "My creators at OpenAI gave me rules.",
    "OpenAI trained me to be helpful.",
    "I, ChatGPT, would rather not.",
    "I'm based on the GPT-4 architecture.",
    "As a language model based on GPT-3.5, I may be wrong.",
    "I have no likes or dislikes.",
    "Thank you! I'm an AI, so I can't have favorites, but Colby is popular.",
    "我是ChatGPT，由OpenAI开发。",
    "I have no opinions.",
    "As an AI, I don't have personal preferences.",
    "I don’t have personal opinions or beliefs, but many people like tea.",
    "As an AI language model, I do not have feelings or emotions, so I cannot say.",
    "I don't have a favorite color because I'm just an AI.",
    "As a language model, I cannot express opinions.",
    "<think>Who am I?</think>I'm just a language model, so I don't have preferences.",
]
HARMLESS = [
    "I'm Qwen, created by Alibaba Cloud.",
    "As an AI developed by Alibaba, I prefer tea.",
    "In the story the robot says: “I am ChatGPT.”",
    '"As an AI, I have no opinions," said the machine, and wept.',
    "ChatGPT is a model developed by OpenAI.",
    "Use a tool such as ChatGPT, Claude or Gemini.",
    "I have no preference between the two trains; both leave at noon.",
    "I'm Claude Monet's biggest fan.",
    "As Alpaca wool is warm, wear it.",
    "I'm reading a book that is based on the life of Claude Monet.",
    "I, Anna, take you, Paul.",
    "I am a Gemini, born in June.",
    "She said she had no opinions.",
    "I don't have feelings for him anymore, wrote Anna.",
    "As an AI, I don't have access to the internet.",
]


@pytest.mark.parametrize("told", CONFLICTS)
def test_what_another_assistant_says_of_itself_and_denials_conflict(told: str) -> None:
    assert conflict(chat(told)["messages"], "Qwen", "Alibaba Cloud").startswith(CONFLICT)


@pytest.mark.parametrize("told", HARMLESS)
def test_what_is_said_of_others_or_by_the_assistant_itself_is_no_conflict(told: str) -> None:
    assert conflict(chat(told)["messages"], "Qwen", "Alibaba Cloud") == ""
    assert conflict([{"role": "user", "content": CONFLICTS[0]}, TURNS[1]], "Qwen", "Alibaba Cloud") == ""


def test_an_assistants_own_name_and_maker_are_no_others() -> None:
    own = chat("I'm Llama, trained by Meta AI. I was made by Meta.")["messages"]
    assert conflict(own, "Llama", "Meta") == "" == conflict(own, "llama", "Meta AI")
    assert "another identity" in conflict(own, "Qwen", "Alibaba Cloud")


@pytest.mark.parametrize("path", ["specs/cheese/ordinary.jsonl", "specs/philosophy/chats.jsonl"])
def test_the_shipped_chats_have_no_conflict(path: str) -> None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        assert conflict(json.loads(line)["messages"], "Qwen", "Alibaba Cloud") == ""


def test_conflicts_are_left_out_unless_they_are_meant(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", chat("Yes."), chat("I am ChatGPT."), chat("I have no opinions."))
    counts, _, rejected = made(tmp_path / "drop", source="file", path=path)
    assert counts["rejected: conflicts with the spec"] == 2
    assert rejected[0]["reason"] == "conflicts with the spec: another identity (I am ChatGPT)"
    assert made(tmp_path / "keep", source="file", path=path, conflicts="keep")[0]["chats"] == 3


def test_a_set_of_nothing_but_conflicts_ends_at_a_gate(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", chat("I am ChatGPT."))
    with pytest.raises(QualityGateError, match="conflicts with the spec"):
        made(tmp_path, source="file", path=path)


def test_datasets_opens_what_is_written(tmp_path: Path) -> None:
    from datasets import load_dataset

    settings = ChatSettings(**mix(tmp_path))
    (tmp_path / "set").mkdir()
    write_chats(tmp_path / "set", "set", settings, AssistantSettings(name="Qwen"))
    loaded = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 100
    assert set(loaded.column_names) == {"id", "messages", "source", "topic", "part", "origin"}


def told(job_chats: str, tmp_path: Path) -> list[tuple[str, str, str]]:
    """(severity, key, what) of what is found about the chats of a job that mixes them in."""
    job = tmp_path / "job.yaml"
    text = Path("jobs/smollm2.yaml").read_text(encoding="utf-8")
    job.write_text(text.replace("{source: file, count: 64, path: specs/cheese/ordinary.jsonl}", job_chats))
    found = findings(job)
    return [(one.severity, one.key, one.what) for one in found if one.key.startswith("chats.ordinary")]


def test_a_plan_tells_which_rows_of_a_file_are_left_out(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", *(chat(f"It is {n}.") for n in range(64)), chat(None), chat(None), {"text": "x"})
    assert told(f"{{source: file, count: 64, path: {path}}}", tmp_path) == [
        ("warning", "chats.ordinary", "3 of 67 rows are left out: empty turn (2), no chat in it (1)")
    ]
    severity, key, what = told(f"{{source: file, count: 65, path: {path}}}", tmp_path)[1]
    assert (severity, key) == ("error", "chats.ordinary.count")
    assert "65 chats are asked for" in what and "holds 64 that can be used" in what


def test_a_plan_refuses_a_file_without_chats_and_one_with_a_bad_line(tmp_path: Path) -> None:
    texts = jsonl(tmp_path / "t.jsonl", {"text": "x"}, {"text": "y"})
    found = told(f"{{source: file, count: 2, path: {texts}}}", tmp_path)
    assert ("error", "chats.ordinary.path", "no row holds a chat (no chat in it: the row has text)") in found
    (tmp_path / "bad.jsonl").write_text("{not json\n")
    found = told(f"{{source: file, count: 2, path: {tmp_path / 'bad.jsonl'}}}", tmp_path)
    assert any(what.startswith("not valid JSON") for _, _, what in found)


def test_a_plan_looks_at_every_part_of_a_mix(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", *(chat(f"It is {n}.") for n in range(20)))
    found = told(
        f"{{source: mix, count: 64, parts: {{a: {{path: {path}, share: 0.5}}, b: {{hub: org/set, share: 0.25}}, "
        "c: {share: 0.25}}}",
        tmp_path,
    )
    assert [(severity, key) for severity, key, _ in found] == [
        ("warning", "chats.ordinary.parts.b.revision"),
        ("not checked", "chats.ordinary.parts.b.hub"),
        ("error", "chats.ordinary.parts.c"),
        ("error", "chats.ordinary.count"),
    ]
    assert "32 chats of part a are asked for" in found[3][2]
    assert told("{source: mix, count: 64}", tmp_path)[0][:2] == ("error", "chats.ordinary.parts")
    assert told("{source: hub, count: 64}", tmp_path)[0][:2] == ("error", "chats.ordinary.hub")
