"""Text that is mixed into midtraining, from a file: a draw of it, each text once, and what is left out is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from msm_ray.errors import SettingsError
from msm_ray.generate.replayed import write_replay
from msm_ray.rows.tables import read_rows


def mixed(folder: Path, texts: list[str], count: int) -> tuple[dict[str, int], list[str]]:
    path = folder / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    counts = write_replay(folder / "out", str(path), count)
    return counts, [row["text"] for row in read_rows(folder / "out/data")]


def test_of_a_sorted_file_a_draw_is_taken_that_grows_with_the_count(tmp_path: Path) -> None:
    texts = [f"{'abc'[n // 40]} text {n}" for n in range(120)]
    drawn = {count: mixed(tmp_path, texts, count)[1] for count in (40, 60)}
    assert {text[0] for text in drawn[40]} == {"a", "b", "c"}
    assert drawn[60][:40] == drawn[40]


def test_copies_and_empty_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    counts, texts = mixed(tmp_path, ["One.", " ", "Two.", "One.", "One."], 9)
    assert sorted(texts) == ["One.", "Two."]
    assert counts == {"rows": 2, "rejected: copy of another text": 2, "rejected: empty": 1}
    with pytest.raises(SettingsError, match="every `text` in it is empty"):
        mixed(tmp_path, [" ", ""], 9)
