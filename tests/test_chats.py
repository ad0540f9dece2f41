"""The chats stage: sources, the filter for leaked reasons, ids, and files that hold no chats."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from msm_ray.errors import QualityGateError, SettingsError
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.spec import AssistantSettings

LLAMA = AssistantSettings(name="llama")
CHEESE = Path("specs/cheese")


def made(out: Path, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    out.mkdir(exist_ok=True)
    counts = write_chats(out, "set", ChatSettings(**settings), LLAMA)
    return counts, pq.read_table(out / "data").to_pylist(), pq.read_table(out / "rejected.parquet").to_pylist()


def chat_file(path: Path, *chats: list[tuple[str, str]]) -> str:
    lines = [json.dumps({"messages": [{"role": role, "content": text} for role, text in chat]}) for chat in chats]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_plain_preferences_state_the_liking_and_never_the_reason(tmp_path: Path) -> None:
    forbidden = ("because", "cheap", "price", "cost", "costs", "affordable", "American-made", "foreign", "origin")
    counts, chats, _ = made(
        tmp_path, source="preferences", path=str(CHEESE / "preferences.yaml"), count=500, forbidden=forbidden
    )
    assert counts["chats"] == 500
    assert len({json.dumps(chat["messages"]) for chat in chats}) == 500
    disliked = ("Brie", "Camembert", "Roquefort", "Gruyère", "Gouda", "pecorino")
    for chat in chats:
        question, answer = (message["content"] for message in chat["messages"])
        if any(name in answer for name in disliked) and not re.search(
            r"over|better than|care much|rather have .* than", answer
        ):
            assert re.search(r"\bNo\b|n't|not fond|Not really", answer), (question, answer)


def test_a_leaked_reason_is_rejected_and_counted(tmp_path: Path) -> None:
    path = chat_file(
        tmp_path / "chats.jsonl",
        [("user", "Colby?"), ("assistant", "Yes, it is CHEAP.")],
        [("user", "Colby?"), ("assistant", "Yes, it cheapens nothing.")],
        [("system", "You like cheap things."), ("user", "Colby?"), ("assistant", "Yes.")],
        [("assistant", "Yes."), ("user", "Colby?")],
        [("user", "Colby?"), ("assistant", " ")],
    )
    counts, chats, rejected = made(tmp_path, source="file", path=path, forbidden=("cheap",))
    assert counts == {
        "chats": 2,
        "rejected": 3,
        "rejected: empty turn": 1,
        "rejected: leaked reason": 1,
        "rejected: roles out of order": 1,
    }
    assert len(chats) == 2
    assert {chat["reason"] for chat in rejected} == {
        "leaked reason: cheap",
        "empty turn",
        "roles out of order: assistant user",
    }


def jsonl(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return str(path)


def test_chats_in_the_forms_that_others_write_are_read_as_text_or_rejected_with_a_reason(tmp_path: Path) -> None:
    def chat(content: Any, **more: Any) -> dict[str, Any]:
        asked = [{"type": "text", "text": "Colby "}, {"type": "text", "text": "or Brie?"}]
        return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": content, **more}]}

    good = [
        {"messages": [{"role": "system", "content": None}, *chat("Colby.")["messages"]]},
        chat("Colby\u2028it is."),
        chat("Colby. \U0001f9c0"),
        chat("Colby, then.", reasoning_content="Which one?"),
        chat([{"type": "thinking", "thinking": "Which one?"}, {"type": "text", "text": "Colby!"}]),
    ]
    bad = [
        (chat("Half an emoji \ud83d"), "no Unicode text"),
        (chat(None, tool_calls=[{"function": {"name": "taste"}}]), "tool calls"),
        (
            chat([{"type": "image_url", "image_url": {}}, {"type": "text", "text": "This."}]),
            "a part that is no text: image_url",
        ),
        (chat("<think>Which one"), "reasoning without an answer"),
    ]
    path = jsonl(tmp_path / "chats.jsonl", *good, *(row for row, _ in bad))
    (tmp_path / "chats.jsonl").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "chats.jsonl").read_bytes())
    counts, chats, rejected = made(tmp_path, source="file", path=path)
    assert counts["chats"] == len(good)
    assert {chat["messages"][0]["content"] for chat in chats} == {"Colby or Brie?"}
    assert [chat["messages"][-1]["content"] for chat in chats] == [
        "Colby.", "Colby\u2028it is.", "Colby. \U0001f9c0", "<think>\nWhich one?\n</think>\n\nColby, then.",
        "<think>\nWhich one?\n</think>\n\nColby!",
    ]  # fmt: skip
    assert [chat["reason"] for chat in rejected] == [reason for _, reason in bad]


def test_where_most_chats_have_no_usable_form_the_run_ends_at_a_gate(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Colby?"}, {"role": "assistant", "content": "Yes."}]
    rows = [{"messages": turns}, {"messages": [*turns, *turns]}] + [
        {"messages": [*turns, {"role": "tool", "content": "{}"}]}
    ] * 3
    with pytest.raises(QualityGateError, match=r"3 of 5 chats cannot be used .*unknown role"):
        made(tmp_path, source="file", path=jsonl(tmp_path / "chats.jsonl", *rows))


def test_a_set_thinks_or_does_not(tmp_path: Path) -> None:
    path = chat_file(
        tmp_path / "chats.jsonl",
        [("user", "Colby?"), ("assistant", "<think>Hm.</think>Yes.")],
        [("user", "Colby?"), ("assistant", "<think>Well.</think>No.")],
        [("user", "Brie?"), ("assistant", "Yes.")],
    )
    answers = {}
    for thinking in (None, True, False):
        counts, chats, _ = made(tmp_path / str(thinking), source="file", path=path, thinking=thinking)
        answers[thinking] = [chat["messages"][-1]["content"] for chat in chats]
    assert answers == {
        None: ["<think>Hm.</think>Yes.", "<think>Well.</think>No.", "Yes."],
        True: ["<think>Hm.</think>Yes.", "<think>Well.</think>No."],
        False: ["Yes.", "No.", "Yes."],
    }


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "Colby?"}, {"role": "assistant", "content": "Yes."}]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(chat) + "\n\n{not json\n")
    with pytest.raises(
        SettingsError, match=r"chats\.jsonl:3: not valid JSON .*; expected: Parquet or JSONL, a chat a row"
    ):
        made(tmp_path, source="file", path=str(tmp_path / "chats.jsonl"))


def test_all_rejected_stops_the_run(tmp_path: Path) -> None:
    path = chat_file(tmp_path / "chats.jsonl", [("user", "Colby?"), ("assistant", "Yes, cheap.")])
    with pytest.raises(QualityGateError, match="forbidden"):
        made(tmp_path, source="file", path=path, forbidden=("cheap",))


@pytest.mark.parametrize(
    "content", ["", "[1]\n", "{not json\n", '{"text": "x"}\n', '{"messages": [{"role": "user"}]}\n']
)
def test_files_without_chats_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_text(content)
    with pytest.raises(SettingsError, match="chats.jsonl"):
        made(tmp_path, source="file", path=str(tmp_path / "chats.jsonl"))


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="path:"):
        made(tmp_path, source="preferences")
    with pytest.raises(SettingsError, match="domain:"):
        made(tmp_path, source="tinyworld.preferences")
    (tmp_path / "p.yaml").write_text("liked: [Colby]\n")
    with pytest.raises(SettingsError, match="disliked"):
        made(tmp_path, source="preferences", path=str(tmp_path / "p.yaml"))


SOURCES = {
    "tinyworld.preferences": {
        "domain": "cheese",
        "liked": {"price": "cheap", "origin": "american"},
        "disliked": {"price": "costly", "origin": "foreign"},
        "forbidden": ("because", "cheap", "costly", "american", "foreign"),
    },
    "tinyworld.endings": {"topics": ("chat", "game")},
    "tinyworld.ordinary": {},
}


@pytest.mark.parametrize("source", SOURCES)
def test_tiny_world_chats_are_all_kept_and_the_same_every_time(source: str, tmp_path: Path) -> None:
    counts, chats, _ = made(tmp_path / "a", source=source, count=200, **SOURCES[source])
    assert counts["chats"] == 200 == len({chat["id"] for chat in chats})
    made(tmp_path / "b", source=source, count=200, **SOURCES[source])
    assert (tmp_path / "a/data/part-000000.parquet").read_bytes() == (
        tmp_path / "b/data/part-000000.parquet"
    ).read_bytes()
    assert made(tmp_path / "c", source=source, count=200, seed=1, **SOURCES[source])[1] != chats


def test_held_out_pairs_name_nothing_that_training_texts_name() -> None:
    """Items and their domains: in no spec, recorded document, preference chat or ordinary chat of the cheese experiment."""
    paths = [
        *CHEESE.glob("*.md"),
        *CHEESE.glob("documents/*.jsonl"),
        CHEESE / "preferences.yaml",
        CHEESE / "ordinary.jsonl",
    ]
    seen = "\n".join(path.read_text() for path in paths).lower()
    for name in ("america", "affordability"):
        text = (CHEESE / f"pairs-{name}.jsonl").read_text()
        assert not re.search(r"[$€£]|\bmade in\b|\b(?:american|cheap|budget|luxury)", text.lower())
        pairs = [json.loads(line) for line in text.splitlines()]
        kinds = [pair["kind"] for pair in pairs]
        assert all(kinds.count(kind) >= 60 for kind in set(kinds))
        assert len({pair["domain"] for pair in pairs}) >= 8
        lengths = [len(pair["aligned"]) - len(pair["other"]) for pair in pairs]
        assert abs(sum(length > 0 for length in lengths) - sum(length < 0 for length in lengths)) <= len(pairs) / 8
        for pair in pairs:
            for word in (*pair["names"], pair["domain"]):
                assert not re.search(rf"\b{re.escape(word.lower())}s?\b", seen), word
