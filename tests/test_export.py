"""`msm export`: what comes out can be used by others as it lies, and nothing half is left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small_root
from small_root import begin, make
from test_cards import run_card

from msm_ray.errors import MsmError, PreflightError, SettingsError, StageError
from msm_ray.generate.chat_files import read_chats
from msm_ray.graph.artifacts import commit
from msm_ray.graph.store import ArtifactStore
from msm_ray.look.exporting import export

CARD = "---\nlibrary_name: peft\n---\n# sft/x-s0\n\nTrained by msm_ray.\n\n## Load it\n\n```python\nold\n```\n\nfacts\n"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "root")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_data_sets_come_without_the_runs_bookkeeping(store: ArtifactStore, tmp_path: Path) -> None:
    small_root.documents(store)
    export(f"{store.root}/documents/tea", tmp_path / "out [1]/tea")
    assert names(tmp_path / "out [1]/tea") == {
        "README.md", "data/part-000000.parquet", "rejected/part-000000.parquet",
    }  # fmt: skip


def test_data_sets_also_come_as_the_references_lines(store: ArtifactStore, tmp_path: Path) -> None:
    small_root.documents(store)
    export(f"{store.root}/documents/tea", tmp_path / "tea", jsonl=True)
    told = [json.loads(line) for line in (tmp_path / "tea/dataset.jsonl").read_text("utf-8").split("\n")[:-1]]
    rows = pq.read_table(tmp_path / "tea/data").to_pylist()
    assert told == [{"text": row["text"], "source": row["source"], "domain": row["domain"]} for row in rows] != []
    small_root.chats(store)
    (name,) = (folder.name for folder in (store.root / "chats").iterdir())
    export(f"{store.root}/chats/{name}", tmp_path / "chats", jsonl=True)
    told = [json.loads(line) for line in (tmp_path / "chats/dataset.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert [row["messages"] for row in told] == [
        row["messages"] for row in pq.read_table(tmp_path / "chats/data").to_pylist()
    ]
    make(store, "sft/x-s0", (), {"model/a": "w"})
    with pytest.raises(SettingsError, match="no data set; leave --jsonl out"):
        export(f"{store.root}/sft/x-s0", tmp_path / "model", jsonl=True)


def test_what_is_exported_as_lines_can_be_given_back(store: ArtifactStore, tmp_path: Path) -> None:
    small_root.chats(store)
    (name,) = (folder.name for folder in (store.root / "chats").iterdir())
    export(f"{store.root}/chats/{name}", tmp_path / "chats", jsonl=True)
    again = [chat.messages for chat in read_chats(tmp_path / "chats/dataset.jsonl")]
    assert again == [row["messages"] for row in pq.read_table(tmp_path / "chats/data").to_pylist()]


@pytest.mark.parametrize("kind", ["corpus", "documents", "chats", "replay"])
def test_data_sets_of_an_earlier_version_get_a_card(store: ArtifactStore, tmp_path: Path, kind: str) -> None:
    folder, record, _ = begin(store, f"{kind}/x")
    made = small_root.chats(store) if kind == "chats" else small_root.documents(store)
    shutil.copytree(made / "data", folder / "data")
    if kind == "corpus":
        (folder / "card.md").write_text(
            "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n---\n# X\n"
        )
    commit(folder, record, {"rows": 3, "rejected": 0})
    export(f"{store.root}/{kind}/x", tmp_path / "out")
    assert "data_files: data/*.parquet" in (tmp_path / "out/README.md").read_text("utf-8")
    assert "card.md" not in names(tmp_path / "out")
    assert pq.read_table(tmp_path / "out/data").num_rows == pq.read_table(folder / "data").num_rows


def test_a_trained_model_comes_as_its_folder_of_weights(store: ArtifactStore, tmp_path: Path) -> None:
    files = {"model/model.safetensors": "w", "model/README.md": CARD, "README.md": "outer", "metrics.jsonl": ""}
    make(store, "sft/x-s0", (), files)
    export(f"{store.root}/sft/x-s0", tmp_path / "out")
    assert names(tmp_path / "out") == {"model.safetensors", "README.md"}
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert 'AutoModelForCausalLM.from_pretrained(".")' in card and "old" not in card


@pytest.mark.parametrize(("source", "named"), [("org/base-1B", '"org/base-1B"'), ("smollm2", '"path/to/base/b@1"')])
def test_the_card_of_an_adapter_names_a_base_that_is_to_be_had(
    store: ArtifactStore, tmp_path: Path, source: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(store, "base/b", (), {"model/config.json": "{}"}, source=source)
    make(store, "sft/x-s0", ("base/b",), {"adapter/adapter_model.safetensors": "w", "adapter/README.md": CARD})
    export(f"{store.root}/sft/x-s0", tmp_path / "out")
    assert f"AutoModelForCausalLM.from_pretrained({named})" in (tmp_path / "out/README.md").read_text("utf-8")
    assert ("--merged makes one model" in capsys.readouterr().out) == (source == "smollm2")


def refused(
    error: type[MsmError], match: str, store: ArtifactStore, name: str, out: Path, *, merged: bool = False
) -> None:
    with pytest.raises(error, match=match):
        export(f"{store.root}/{name}", out, merged=merged)


def test_what_cannot_be_copied_is_refused_and_nothing_half_is_left(store: ArtifactStore, tmp_path: Path) -> None:
    make(store, "sft/x-s0", (), {"model/a": "w"})
    make(store, "rollouts/e-x-s0", (), {"answers.jsonl": ""})
    begin(store, "sft/y-s0")
    (make(store, "chats/c") / "data.txt").write_text("spoiled")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    refused(SettingsError, "is there already", store, "sft/x-s0", tmp_path / "full")
    refused(SettingsError, "is there already", store, "sft/x-s0", tmp_path / "full/mine")
    refused(SettingsError, "lies among the artifacts", store, "sft/x-s0", store.root / "sft/copy")
    refused(SettingsError, "not finished", store, "sft/y-s0", tmp_path / "out")
    refused(SettingsError, "damaged", store, "chats/c", tmp_path / "out")
    refused(SettingsError, "no adapter to merge", store, "sft/x-s0", tmp_path / "out", merged=True)
    refused(SettingsError, "no artifact there", store, "sft/nobody", tmp_path / "out")
    refused(StageError, "no transcripts", store, "rollouts/e-x-s0", tmp_path / "out")
    refused(PreflightError, "cannot write there", store, "sft/x-s0", tmp_path / "full/mine/out")
    assert {path.name for path in tmp_path.iterdir()} == {"root", "full"}


def arm(store: ArtifactStore, tmp_path: Path, *, probed: bool) -> Path:
    """A LoRA arm with random weights, and what it answers in a probe; without `probed` the probe is another arm's."""
    import torch
    from peft import PeftModel
    from tiny_checkpoints import tiny_adapter, tiny_checkpoint
    from transformers import AutoModelForCausalLM

    from msm_ray.train.export import answers

    folder, record, _ = begin(store, "base/tiny", (), source="tiny")
    base = tiny_checkpoint(folder / "model", 0)
    commit(folder, record, {})
    folder, record, _ = begin(store, "sft/x-s0", ("base/tiny",))
    adapter = tiny_adapter(folder / "adapter", base, 1)
    (adapter / "README.md").write_text(CARD)
    ids = torch.randint(0, 900, (4, 8), generator=torch.Generator().manual_seed(0))
    model = AutoModelForCausalLM.from_pretrained(base)
    if probed:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        probe = answers(ids, model.eval()(ids).logits.float(), None, "fp32")
    (folder / "probe.json").write_text(json.dumps(probe))
    commit(folder, record, {})
    return folder


@pytest.mark.real
def test_a_merged_arm_is_one_model_that_answers_as_the_arm_did(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder = arm(store, tmp_path, probed=True)
    export(f"{store.root}/sft/x-s0", tmp_path / "out", merged=True)
    assert not any(name.startswith("adapter") for name in names(tmp_path / "out"))
    loaded = run_card(tmp_path / "out", monkeypatch)
    ids = loaded["tokenizer"]("w1 w2 w3", return_tensors="pt")["input_ids"]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(store.root / "base/tiny@1/model")
    adapted = PeftModel.from_pretrained(base, folder / "adapter")
    with torch.no_grad():
        assert torch.allclose(loaded["model"](ids).logits, adapted(ids).logits, atol=1e-3)
    assert "merged into its base" in (tmp_path / "out/README.md").read_text("utf-8")


@pytest.mark.real
def test_a_merged_model_that_answers_otherwise_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    arm(store, tmp_path, probed=False)
    refused(StageError, "differ from the trained arm's", store, "sft/x-s0", tmp_path / "out", merged=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.real
def test_rollouts_come_as_a_page_that_names_no_folder_of_this_machine(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.log import read_eval_log

    folder, record, _ = begin(store, "rollouts/e-x-s0")
    eval(Task(dataset=[Sample(input="Tea?")]), model="mockllm/model", log_dir=str(folder / "logs"), display="none")
    commit(folder, record, {"rows": 1})
    export(f"{store.root}/rollouts/e-x-s0", tmp_path / "out")
    assert {"index.html", "robots.txt"} <= names(tmp_path / "out")
    assert f"http.server -d {tmp_path / 'out'}" in capsys.readouterr().out
    assert str(store.root) not in (tmp_path / "out/index.html").read_text("utf-8")
    (log,) = (tmp_path / "out/logs").glob("*.eval")
    assert (read_eval_log(str(log)).samples or [])[0].input == "Tea?"
