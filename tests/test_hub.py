"""Data sets of the hub: which files are meant, and that they come whole, of one commit, through the user's own reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hub_server import COMMIT, hub_with
from test_chats import made

from msm_ray.errors import PreflightError, SettingsError
from msm_ray.rows.hub import choose_files

NAMES = {
    "dataset.jsonl and its card": (["README.md", "dataset.jsonl", ".gitattributes"], ["dataset.jsonl"]),
    "shards of splits": (
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
    ),
    "folders of splits": (["train/0.jsonl.gz", "validation/0.jsonl.gz"], ["train/0.jsonl.gz"]),
    "the same rows twice": (["train.jsonl", "data/train-0.parquet"], ["data/train-0.parquet"]),
    "no split's word": (["constraints.jsonl", "trained.jsonl"], ["constraints.jsonl", "trained.jsonl"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_the_files_of_a_split_are_chosen_by_name(case: str) -> None:
    names, meant = NAMES[case]
    assert choose_files(names, "train", None) == meant


def test_a_pattern_chooses_files_and_none_is_told_with_what_there_is() -> None:
    names = ["data/a/train-0.parquet", "data/b/train-0.parquet", "data/b/test-0.parquet"]
    assert choose_files(names, "train", "data/b/train-*") == ["data/b/train-0.parquet"]
    with pytest.raises(
        SettingsError, match=r"org/set: no file for split: train; there is: test\.csv|no JSONL or Parquet"
    ):
        choose_files(["test.csv"], "train", None, "org/set")
    with pytest.raises(SettingsError, match=r"no file for split: validation; there is: data/a/train-0\.parquet"):
        choose_files(names, "validation", None, "org/set")


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def chat(told: str | None) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Colby?"}, {"role": "assistant", "content": told}]}


def test_chats_of_the_hub_come_of_one_commit_and_a_bad_row_costs_that_row(tmp_path: Path) -> None:
    rows = [*(chat(f"Yes, {n}.") for n in range(20)), chat(None), {"messages": "none"}]
    files = {"dataset.jsonl": lines(*rows), "README.md": b"# Mine", "model.py": b"raise SystemExit"}
    with hub_with("org/aft", files) as asked:
        counts, chats, rejected = made(tmp_path / "set", source="hub", hub="org/aft", revision=COMMIT, count=20)
    assert (len(chats), sorted(one["reason"] for one in rejected)) == (
        20,
        ["`messages` is no list of turns", "empty turn"],
    )
    assert counts["revision of org/aft"] == COMMIT
    assert not [path for path in asked if "model.py" in path or "README" in path]
    assert [path.name for path in (tmp_path / "set/fetched").iterdir()] == ["dataset.jsonl"]


def test_a_data_set_that_cannot_be_had_is_told_with_what_to_do(tmp_path: Path) -> None:
    with (
        hub_with("org/aft", {}),
        pytest.raises(PreflightError, match=r"org/other: the data set could not be had .*name one under `path:`"),
    ):
        made(tmp_path / "set", source="hub", hub="org/other")


def test_a_hub_that_is_not_there_is_told_too(tmp_path: Path) -> None:
    import huggingface_hub.constants as constants

    with (
        patch.object(constants, "ENDPOINT", "http://127.0.0.1:9"),
        patch.object(constants, "HF_HUB_OFFLINE", False),
        pytest.raises(PreflightError, match="org/aft: the data set could not be had"),
    ):
        made(tmp_path / "set", source="hub", hub="org/aft")
