"""What trainings and engines will ask for, from shapes alone, and where that is too much."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_preflight import findings

from msm_ray import machine, models
from msm_ray.preflight import Finding, memory, refuse
from msm_ray.preflight.shapes import KNOWN, shape_of
from msm_ray.preflight.telling import Refused
from msm_ray.train.settings import LoraSettings, TrainSettings

VALUES, AGENTIC, QUICKSTART = (
    "tests/jobs/values-own-data.yaml",
    "tests/jobs/agentic-own-data.yaml",
    "jobs/quickstart.yaml",
)
LLAMA = KNOWN["meta-llama/llama-3.1-8b"]


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("meta-llama/llama-3.1-8b", 8.03), ("qwen/qwen2.5-14b-instruct", 14.77), ("qwen/qwen2.5-32b-instruct", 32.76),
        ("qwen/qwen3-8b", 8.19), ("qwen/qwen3-14b", 14.77), ("qwen/qwen3-32b", 32.76), ("smollm2", 0.1345),
    ],
)  # fmt: skip
def test_shapes_add_up_to_the_parameters_of_the_model_cards(name: str, billions: float) -> None:
    assert KNOWN[name].parameters / 1e9 == pytest.approx(billions, rel=1e-3)


def test_a_shape_from_a_folder_counts_what_its_weights_hold(tiny_base: Path) -> None:
    shape = shape_of("tinyworld", tiny_base)
    assert shape and shape.parameters == pytest.approx(models.count_parameters(tiny_base), rel=0.01)


def test_an_adapter_has_the_parameters_that_peft_prints() -> None:
    assert LLAMA.adapter(64, LoraSettings().targets) == 167_772_160


def test_what_makes_a_training_smaller_and_what_does_not() -> None:
    lora = TrainSettings(sequence_length=4096)
    full = lora.model_copy(update={"mode": "full"})
    total = {key: memory.training(LLAMA, how, ranks).total / memory.GIB for key, how, ranks in [
        ("lora", lora, 1),
        ("checkpointed", lora.model_copy(update={"activation_checkpointing": True}), 1),
        ("full", full, 1),
        ("full shared", full.model_copy(update={"zero_stage": 3}), 8),
        ("not shared", full.model_copy(update={"zero_stage": 0}), 8),
    ]}  # fmt: skip
    assert total["checkpointed"] < total["lora"] < 79 < 140 < total["full"]
    assert total["full"] == total["not shared"]
    assert total["full shared"] < total["full"] / 2
    assert memory.training(LLAMA, full, 1).parts["optimizer"] == LLAMA.parameters * 12  # fp32 copy and two moments
    offloaded = full.model_copy(update={"offload_optimizer": True})
    assert memory.training(LLAMA, offloaded, 1).parts["optimizer"] == 0  # it lies in main memory


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster is named, so that this machine's GPUs do not count."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("job", "key", "override", "says"),
    [
        (AGENTIC, "cluster.training", "cluster.training.gpu_memory_gib=79", "of each GPU (weights 62"),
        (VALUES, "cluster.training", "cluster.training={workers: 1, gpus: 1, accelerator: A10G}", "the A10G has 22"),
        (VALUES, "cluster.serving", "cluster.serving.max_model_len=1000000", "key-value cache of one request"),
        (VALUES, "cluster.generation", "cluster.generation={gpus: 1, accelerator: A100-40G}", "generation needs about"),
    ],
)
def test_a_card_that_is_too_small_is_refused(elsewhere: None, job: str, key: str, override: str, says: str) -> None:
    told = [f for f in findings(job, override) if f.key == key and f.severity == "error"]
    assert told
    assert all(says in f.what and "larger card" in f.remedy and f.exit_code == 2 for f in told)


def test_a_card_that_is_not_known_is_not_checked_and_says_what_is_needed(elsewhere: None) -> None:
    told = [f for f in findings(VALUES, "cluster.training={gpus: 1}") if f.key == "cluster.training"]
    assert {f.severity for f in told} == {"not checked"}
    assert "set accelerator, or gpu_memory_gib" in told[0].remedy


def test_gpus_and_cpus_that_this_machine_lacks_end_with_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    told = {f.key: f for f in findings(AGENTIC) if f.exit_code == 3}
    assert told["cluster.training"].stages == ("midtrain", "sft")
    assert "needs 4 GPUs" in told["cluster.training"].what
    few = [f for f in findings(QUICKSTART, "cluster.cpus=1") if f.key == "cluster.cpus"]
    assert few and all(f.exit_code == 3 and f.line == 0 for f in few)
    refuse(few, {"report"})
    with pytest.raises(Refused):
        refuse(few, {"documents"})


def test_disk_and_memory_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    told = findings(QUICKSTART, "cluster.least_disk_gib=1e9", f"root={tmp_path}")
    assert any(f.key == "cluster.least_disk_gib" and "make room" in f.remedy and f.exit_code == 3 for f in told)
    small = machine.look(tmp_path)
    monkeypatch.setattr(
        machine, "look", lambda root: machine.Machine(**vars(small) | {"disk_gib": 50.0, "memory_gib": 30.0})
    )
    disk = [f for f in findings(AGENTIC, f"root={tmp_path}") if f.key == "root"]
    assert "about 98 GiB are needed (base 61.0, checkpoints 21.0, exports 16.0)" in disk[0].what
    (tmp_path / "base").mkdir()
    with (tmp_path / "base" / "model.safetensors").open("wb") as file:
        file.truncate(60 * 2**30)  # a file of holes: most of what is needed is there already
    assert not [f for f in findings(AGENTIC, f"root={tmp_path}") if f.key == "root"]
    here = findings(VALUES, "cluster.training={workers: 1, gpus: 0}")
    assert any(f.key == "cluster.training" and "this machine has 30" in f.what for f in here)


def test_the_disk_that_nodes_keep_their_blocks_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def told(folder: Path) -> list[Finding]:
        return [f for f in findings(VALUES, f"cluster.node_cache={folder}") if f.key == "cluster.node_cache"]

    assert not told(tmp_path / "blocks")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2**26))
    (short,) = told(tmp_path / "blocks")
    assert "of blocks are copied there and 0.1 are free" in short.what and short.exit_code == 3
    assert short.stages == ("midtrain", "sft")
    (tmp_path / "file").touch()
    assert "nothing can be written" in told(tmp_path / "file")[0].what
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert [f.severity for f in told(tmp_path / "blocks")] == ["not checked"]


def test_a_gated_model_without_a_token_is_told_and_no_model_of_the_hub_passes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def of_base() -> list[Finding]:
        return [f for f in findings(VALUES) if f.key == "base.source"]

    assert [(f.severity, f.exit_code, f.stages) for f in of_base()][0] == ("error", 3, ("base",))
    assert "set HF_TOKEN" in of_base()[0].remedy
    (tmp_path / "token").write_text("kept by hf auth login")
    assert [f.severity for f in of_base()] == ["not checked"]
    snapshot = tmp_path / "hub/models--meta-llama--Llama-3.1-8B/snapshots/1"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert (
        of_base() != [] and "config.json" in of_base()[0].what
    )  # files that are here are looked at, and this is no model
