"""Shards: whole or absent, never rewritten, and the same bytes for engines that always answer the same."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from msm_ray.errors import StageError
from msm_ray.generate.at_size.worker import PASS, begin_pass
from msm_ray.generate.shards import FixedShards, GrowingShards, recover_documents
from msm_ray.rows.schemas import DOCUMENT_SCHEMA
from msm_ray.rows.tables import read_rows, write_table


def finished(number: int, reason: str = "") -> dict[str, Any]:
    return {"id": f"{number:03d}", "text": None if reason else "text", "reason": reason, "raw": "raw", "job": 0}


def test_growing_shards_flush_by_count_and_by_time(tmp_path: Path) -> None:
    shards = GrowingShards(tmp_path, rows=3, seconds=0.05)
    for number in range(4):
        shards.add(finished(number, "refused" if number == 1 else ""), number)
    assert [row["id"] for row in read_rows(tmp_path / "data")] == ["000", "002"]
    assert [(row["id"], row["reason"]) for row in read_rows(tmp_path / "rejected")] == [("001", "refused")]
    time.sleep(0.06)
    shards.tick()
    assert [row["id"] for row in read_rows(tmp_path / "data")] == ["000", "002", "003"]


def test_growing_shards_go_on_after_what_is_there(tmp_path: Path) -> None:
    for number in (0, 1):
        shards = GrowingShards(tmp_path)
        shards.add(finished(number), number)
        shards.flush()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["part-000000.parquet", "part-000001.parquet"]


def test_fixed_shards_are_the_same_in_any_order_and_only_when_whole(tmp_path: Path) -> None:
    rows = [finished(number, "empty" if number % 4 == 0 else "") for number in range(10)]
    for name, seed in (("a", 1), ("b", 2)):
        shards = FixedShards(tmp_path / name, 10, rows=4)
        order = random.Random(seed).sample(range(10), 10)
        for place in order:
            assert not shards.done(place)
            shards.add(rows[place], place)
        assert shards.done(9)
    files = {name: {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")} for name in "ab"}
    assert len(files["a"]) == 3 and files["a"] == files["b"]
    partial = FixedShards(tmp_path / "c", 10, rows=4)
    for place in (0, 1, 2, 8, 9):
        partial.add(rows[place], place)
    partial.flush()
    assert [path.name for path in (tmp_path / "c" / "data").iterdir()] == ["part-000002.parquet"]


def test_fixed_shards_that_go_further_are_what_they_would_have_been_at_once(tmp_path: Path) -> None:
    rows = [finished(number, "empty" if number % 4 == 0 else "") for number in range(10)]
    for name, ends in (("at once", (10,)), ("in two", (6, 10)), ("lowered", (10, 6))):
        for end in ends:
            shards = FixedShards(tmp_path / name, end, rows=4)
            for place in [place for place in range(end) if not shards.done(place)]:
                shards.add(rows[place], place)
            assert all(shards.done(place) for place in range(end))
    roots = [tmp_path / name for name in ("at once", "in two", "lowered")]
    files = [{p.relative_to(root): p.read_bytes() for p in root.rglob("*.parquet")} for root in roots]
    assert len(files[0]) == 6 and files[0] == files[1] == files[2]


def test_what_a_killed_writer_left_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".part-000000.parquet.tmp").write_bytes(b"half")
    GrowingShards(tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_what_was_added_is_there_after_a_kill_once(tmp_path: Path) -> None:
    killed = GrowingShards(tmp_path, writer="a")
    for number in range(3):
        killed.add(finished(number, "refused" if number == 1 else ""), number)
    assert not list(tmp_path.rglob("*.parquet"))
    for _ in range(2):
        recover_documents(tmp_path)
        assert [row["id"] for row in read_rows(tmp_path / "data")] == ["000", "002"]
        assert [row["id"] for row in read_rows(tmp_path / "rejected")] == ["001"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["part-a-000000.parquet"]


def test_a_kill_between_a_file_and_its_journals_end_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = GrowingShards(tmp_path, writer="a")
    writer.add(finished(0), 0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **_: pytest.fail("killed") if path.suffix == ".taken" else None)
        with pytest.raises(pytest.fail.Exception):
            writer.flush()
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    recover_documents(tmp_path)
    assert written.items() <= {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}.items()
    assert [row["id"] for row in read_rows(tmp_path / "data")] == ["000"]
    assert not list(tmp_path.rglob(".part-*"))


def test_a_writer_that_was_thought_dead_writes_nothing_more(tmp_path: Path) -> None:
    mine = [begin_pass(tmp_path)]

    def guard() -> None:
        if (tmp_path / PASS).read_text() not in mine:
            raise StageError("another pass")

    busy, idle = (GrowingShards(tmp_path, writer=name, guard=guard) for name in ("busy", "idle"))
    busy.add(finished(0), 0)
    begin_pass(tmp_path)
    recover_documents(tmp_path)
    begin_pass(tmp_path)
    busy.add(finished(1), 1)  # on its way when its pass ended: it is asked again
    with pytest.raises(StageError, match="another run has taken over"):
        busy.flush()
    with pytest.raises(StageError, match="another pass"):
        idle.add(finished(2), 2)
    recover_documents(tmp_path)
    assert [row["id"] for row in read_rows(tmp_path / "data")] == ["000"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(StageError, match="data/part.parquet cannot be written"):
        write_table(tmp_path / "data" / "part.parquet", [finished(1)], DOCUMENT_SCHEMA)


def test_a_journal_that_cannot_be_written_is_named_as_a_file_is(tmp_path: Path) -> None:
    shards = GrowingShards(tmp_path)
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(StageError, match=r"raw/\.part-000000\.jsonl cannot be written: .*make room"):
        shards.add(finished(1), 1)
