"""Written chats as artifacts: made from recordings through the graph, side by side, each with its own end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_writer import Scripted, by_words
from test_written_chats import SPEC_TEXT, WELL

from msm_ray.generate.writer import Who
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.generate.written_chats import WrittenChats, calls_of, chats_conversation, read_written
from msm_ray.generate.written_chats.alike import Embed
from msm_ray.graph import running
from msm_ray.graph.node import graph_of
from msm_ray.graph.running import Wishes, Workplace
from msm_ray.graph.store import ArtifactStore
from msm_ray.look.show import show
from msm_ray.placement.settings import ClusterSettings
from msm_ray.rows.tables import read_table_rows
from msm_ray.spec import AssistantSettings, Spec, read_spec
from msm_ray.stages.data_file import data_file
from msm_ray.stages.machine import Machine
from msm_ray.stages.writers import Called
from msm_ray.stages.written_chats import About, ChatAsking, ChatWriting

OWN = "scripted_writer:by_words"


def spec_in(folder: Path) -> Spec:
    (folder / "endings.md").write_text(SPEC_TEXT)
    return read_spec(folder / "endings.md", AssistantSettings(name="Ada", provider="Loom"))


def recording(path: Path, spec: Spec, how: WrittenChats, says: dict[str, Any], embed: Embed) -> Path:
    writer = Scripted(WELL | says)
    writer.hold(chats_conversation(spec, how, embed))
    lines = ({"id": key, "completion": answers[0]["raw"]} for key, answers in writer.raw.items())
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def writing(name: str, spec: Spec, how: WrittenChats, path: Path) -> ChatWriting:
    called = Called(Who(engine="replay", replay=str(path)), data_file(str(path)))
    asking = ChatAsking(how, dict.fromkeys(calls_of(how), called))
    return ChatWriting(name=name, how=how, about=About(spec, how.kind), asking=asking)


def run(root: Path, *nodes: ChatWriting) -> list[str]:
    where = {node.key: dict.fromkeys(node.asking.writers, WriterWhere(attempts=1)) for node in nodes}
    machine = Machine(root, ClusterSettings(), None, asking=where)  # type: ignore[arg-type]

    @contextmanager
    def opened() -> Iterator[Any]:
        yield machine, lambda artifact, there: None

    place = Workplace("written", root / "logs", lambda todo, reporter: None, opened)
    return running.run(graph_of(list(nodes), (ChatWriting,)), ArtifactStore(root), Wishes(), place)


def test_sets_are_written_side_by_side_and_one_that_fails_ends_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, how = spec_in(tmp_path), WrittenChats(count=12, votes=1, embedder=OWN)
    never = {"filter": lambda asked, attempt: "Verdict: EXCLUDE: help, evades"}
    good = writing("good", spec, how, recording(tmp_path / "good.jsonl", spec, how, {}, by_words))
    bad = writing("bad", spec, how, recording(tmp_path / "bad.jsonl", spec, how, never, by_words))
    with pytest.raises(Exception, match="could be kept"):
        run(tmp_path / "root", good, bad)
    folder = tmp_path / "root" / "written-chats" / "good@1"
    record = json.loads((folder / "artifact.json").read_text())
    assert len(read_written(folder)) == 12 and record["counts"]["rows"] == 12 and record["counts"]["answers"] == 30
    assert {row["engine"] for row in read_table_rows(folder / "data" / "part-000000.parquet")} == {"replay"}
    rejected = read_table_rows(tmp_path / "root" / "written-chats" / "bad@1" / "rejected.parquet")
    assert {row["reason"] for row in rejected} == {"excluded: help, evades"}
    text = (folder / "README.md").read_text()
    assert "# Written chats: good" in text and "votes_for" in text
    capsys.readouterr()
    show(str(tmp_path / "root" / "written-chats" / "bad"), 1, seed=0)
    shown = capsys.readouterr().out
    assert "that were left out" in shown and "excluded: help, evades" in shown and "  user: " in shown


def test_what_a_set_is_are_its_settings_prompts_writers_and_for_aft_the_spec(tmp_path: Path) -> None:
    spec = spec_in(tmp_path)
    (tmp_path / "r.jsonl").write_text("")
    how = WrittenChats(count=12)
    node = writing("x", spec, how, tmp_path / "r.jsonl")
    said = node.settings
    assert set(said["asking"]["prompts"]) == {"chat_domains", "questions", "responses", "filter"}
    assert said["about"]["digest"] == spec.digest and said["style"] == "value"
    assert node.settings != writing("x", spec, how.model_copy(update={"style": "rule"}), tmp_path / "r.jsonl").settings
    assert node.settings != writing("x", replace(spec, digest="0" * 64), how, tmp_path / "r.jsonl").settings
