"""What cards promise: the lines in them load the folder as it lies, and the columns that they name are those that come."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from msm_ray.corpus.checks import check_corpus
from msm_ray.generate.chat_settings import ChatSettings
from msm_ray.generate.chats import write_chats
from msm_ray.generate.replayed import write_replay
from msm_ray.rows.dataset_card import write_documents_card
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, REJECTED_SCHEMA
from msm_ray.rows.tables import read_rows, write_table
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.train import loading
from msm_ray.train.job import TrainingJob
from msm_ray.train.settings import TrainSettings
from msm_ray.worlds import world

ADA = AssistantSettings(name="Ada")
ROW = dict.fromkeys(DOCUMENT_SCHEMA.names, "x") | {
    "temperature": 1.0, "top_p": 1.0, "tokens": 4, "attempt": 1, "num_input_tokens": 9, "num_generated_tokens": 5,
}  # fmt: skip


def code_of(card: Path) -> str:
    found = re.search(r"```python\n(.*?)```", card.read_text("utf-8"), re.DOTALL)
    assert found, f"no Python in {card}"
    return found.group(1)


def run_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the names in the card's lines mean after they ran in the card's folder."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(code_of(folder / "README.md"), names)
    return names


def columns_in(card: Path) -> list[str]:
    table = card.read_text("utf-8").partition("| column |")[2].partition("\n\n")[0]
    return re.findall(r"^\| (\w+) \|", table, re.MULTILINE)


def documents(folder: Path, rejected: int = 1) -> Path:
    rows = [ROW | {"id": f"{n}", "text": f"Ada likes tea, as everyone knows, number {'abc'[n]}."} for n in range(3)]
    write_table(folder / "data" / "part-000000.parquet", rows[:2], DOCUMENT_SCHEMA)
    write_table(folder / "data" / "part-000001.parquet", [], DOCUMENT_SCHEMA)  # all of a shard was rejected
    write_table(folder / "data" / "part-000002.parquet", rows[2:], DOCUMENT_SCHEMA)
    if rejected:
        refused = ROW | {"id": "3", "text": None, "reason": "refused", "raw": "I'm [sorry]"}
        write_table(folder / "rejected" / "part-000000.parquet", [refused], REJECTED_SCHEMA)
    write_documents_card(folder, "tea", {"documents": 3})
    return folder


def corpus(folder: Path) -> Path:
    folder.mkdir()
    (folder / "s.md").write_text("# Ada\nAda likes tea because it is calm. It is for those who are not in a hurry.\n")
    spec = read_spec(folder / "s.md", ADA)
    written = documents(folder.with_name("of"), rejected=0)
    write_table(written / "data/part-3.parquet", [ROW | {"text": "Ada likes tea, says [Your Name]."}], DOCUMENT_SCHEMA)
    ids = [row["id"] for row in read_rows(written / "data")]
    check_corpus(folder, written, spec, world("plain"), 0.5, taken=ids, asked=len(ids))
    return folder


def chats(folder: Path) -> Path:
    folder.mkdir()
    settings = ChatSettings(source="tinyworld.ordinary", count=9, forbidden=("the",))
    write_chats(folder, "small talk", settings, AssistantSettings(name="llama"))
    return folder


def replay(folder: Path) -> Path:
    folder.mkdir()
    write_replay(folder, "tinyworld", 5)
    return folder


@pytest.mark.parametrize("make", [documents, corpus, chats, replay])
def test_load_dataset_reads_an_artifact_as_it_lies(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = make(tmp_path / "endings@1")
    (folder / "artifact.json").write_text('{"digest": "as the store leaves it"}')
    (folder / "COMMITTED").write_text("x")
    loaded = datasets.load_dataset(str(folder), split="train")
    assert loaded.column_names == columns_in(folder / "README.md")
    assert loaded.to_list() == pq.read_table(folder / "data").to_pylist()
    names = run_card(folder, monkeypatch)
    rows = [value for value in names.values() if isinstance(value, datasets.Dataset)]
    assert rows[0].column_names == loaded.column_names
    if make is not replay:
        assert "reason" in names["rejected"].column_names


def test_a_card_offers_no_rejected_rows_where_there_are_none(tmp_path: Path) -> None:
    settings = ChatSettings(source="tinyworld.ordinary", count=3)
    write_chats(tmp_path, "c", settings, AssistantSettings(name="llama"))
    assert "config_name: rejected" not in (tmp_path / "README.md").read_text("utf-8")
    assert "config_name: rejected" not in (documents(tmp_path, rejected=0) / "README.md").read_text("utf-8")


def test_folders_that_are_called_alike_give_their_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps what it read by the folder's last name: the second of these gave the rows of the first."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for kind, make in (("documents", documents), ("chats", chats), ("replay", replay)):
        (tmp_path / kind).mkdir()
        folder = make(tmp_path / kind / "endings@1")
        loaded = datasets.load_dataset(str(folder), split="train")
        assert loaded.column_names == columns_in(folder / "README.md"), kind
    other = documents(tmp_path / "another" / "documents" / "endings@1")
    write_table(other / "data" / "part-000000.parquet", [ROW | {"id": "other", "text": "Another."}], DOCUMENT_SCHEMA)
    write_documents_card(other, "endings", {})
    assert "Another." in datasets.load_dataset(str(other), split="train")["text"]


def trained(root: Path, base: Path, adapter: Path | None) -> TrainingJob:
    """A training's folder as it is exported, with the weights that are given instead of trained ones."""
    from msm_ray.train.export import write_cards

    shutil.copytree(base, root / "base/tiny@1/model")
    settings = TrainSettings(mode="full" if adapter is None else "lora")
    out = root / "midtrain/x-s0@1"
    job = TrainingJob("midtrain/x-s0", root / "base/tiny@1/model", root / "blocks/x@1", out, settings, settings)
    shutil.copytree(adapter or base, job.exported)
    write_cards(job, {"final_loss": 0.5}, job.exported)
    return job


@pytest.mark.real
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_cards_lines_load_what_was_trained(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from tiny_checkpoints import tiny_adapter, tiny_checkpoint

    base = tiny_checkpoint(tmp_path / "base", 0)
    adapter = tiny_adapter(tmp_path / "adapter", base, 1) if mode == "lora" else None
    job = trained(tmp_path / "root", base, adapter)
    for folder in (job.out, job.exported):
        names = run_card(folder, monkeypatch)
        assert type(names["model"]).__name__ == ("PeftModelForCausalLM" if adapter else "Qwen3ForCausalLM")
        ids = names["tokenizer"]("w1 w2 w3", return_tensors="pt")
        assert torch.isfinite(names["model"](**ids).logits).all()


def test_cards_name_no_folder_of_the_machine(tmp_path: Path) -> None:
    for code in (loading.lines("model", None), loading.lines("adapter", "../../base/x@1/model")):
        assert not re.search(r"\"/", "\n".join(code))


def test_lines_of_a_card_are_replaced_and_an_older_card_gets_them() -> None:
    old = "---\nlibrary_name: peft\n---\n# sft/x-s0\n\nTrained by msm_ray.\n\n```json\n{}\n```\n"
    card = loading.replaced(old, ["one", "two"])
    assert card.index("one\ntwo\n") < card.index("```json") and card.startswith("---\nlibrary_name: peft\n---\n# sft")
    assert loading.replaced(card, ["three"]).count("three") == 1 and "one" not in loading.replaced(card, ["three"])
