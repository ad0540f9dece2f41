"""Training for real: Ray Train, DeepSpeed on two workers, killed and resumed. The models are random and tiny."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from msm_ray import artifacts
from msm_ray.config import ClusterSettings, LoraSettings, TrainSettings, WorkerSettings
from msm_ray.corpus.blocks import build_blocks, read_blocks
from msm_ray.errors import PreflightError, StageError
from msm_ray.train import checkpoint, metrics
from msm_ray.train.job import TrainingJob
from msm_ray.train.launch import train_all
from tests.driver_of_training import LONG, long_job
from tests.tiny_checkpoints import tiny_checkpoint

pytestmark = pytest.mark.real

CLUSTER = ClusterSettings(training=WorkerSettings(workers=2))
SHORT = LONG.model_copy(update={"steps": 8, "checkpoint_every": 100})
LORA = LoraSettings(r=4, alpha=8)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny Qwen3 and packed blocks of documents that can be learned (each counts up from some word)."""
    folder = tmp_path_factory.mktemp("training")
    tiny_checkpoint(folder / "base", seed=0)
    rng = random.Random(0)
    rows = []
    for i in range(300):
        first = rng.randrange(900)
        words = [f"w{(first + 3 * j) % 900}" for j in range(rng.randint(10, 60))]
        rows.append({"id": f"{i:05d}", "text": " ".join(words)})
    (folder / "documents").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents" / "0.parquet")
    (folder / "blocks").mkdir()
    build_blocks(
        folder / "blocks", kind="documents", main=folder / "documents", other=None, tokenizer=folder / "base",
        settings=LONG, seed=0,
    )  # fmt: skip
    return folder


def job(world: Path, name: str, settings: TrainSettings, **more) -> TrainingJob:
    record = {"stage": "midtrain", "name": name, "version": 1, "settings": {}, "inputs": {}}
    return TrainingJob(name, world / "base", world / "blocks", world / name, settings, record=record, **more)


def weights(trained: TrainingJob) -> bytes:
    (file,) = trained.exported.glob("*.safetensors")
    return file.read_bytes()


def test_packed_documents_never_attend_to_each_other(world: Path) -> None:
    """Golden: logits and loss of a batch of packed, padded blocks equal those of each document run alone."""
    import torch
    from transformers import AutoModelForCausalLM

    from msm_ray.train.batches import micro_batches
    from msm_ray.train.loop import summed_loss

    model = AutoModelForCausalLM.from_pretrained(world / "base", attn_implementation="sdpa").eval()
    blocks = read_blocks(world / "blocks")
    last = len(blocks) - 1  # the one with padding
    (batch,) = micro_batches(blocks, [0, 1, last], passes=1, rows=3, pad=0, device=torch.device("cpu"))
    assert max(len(row) for row in blocks.table["lengths"].to_pylist()) > 1
    assert len(blocks.table["input_ids"][last]) < 128
    alone = 0.0
    with torch.no_grad():
        packed = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits
        for row, block in enumerate([0, 1, last]):
            start = 0
            for length in blocks.table["lengths"][block].as_py():
                ids = batch.ids[row : row + 1, start : start + length]
                out = model(input_ids=ids, labels=ids)
                assert (packed[row, start : start + length] - out.logits[0]).abs().max() < 1e-5
                alone += float(out.loss) * (length - 1) if length > 1 else 0.0
                start += length
        assert float(summed_loss(model, batch)) == pytest.approx(alone, rel=1e-5)


@pytest.fixture(scope="module")
def trained(world: Path, ray_cluster: None) -> dict[str, TrainingJob]:
    """One worker group: every ZeRO stage, LoRA under two of them, an SFT that goes on from each kind of parent."""
    lora = SHORT.model_copy(update={"mode": "lora", "lora": LORA, "embedding_learning_rate": None})
    jobs = [job(world, f"zero{n}", SHORT.model_copy(update={"zero_stage": n})) for n in range(4)]
    jobs += [job(world, f"lora{n}", lora.model_copy(update={"zero_stage": n})) for n in (2, 3)]
    jobs.append(job(world, "after-full", SHORT, parent=jobs[2].exported))
    jobs.append(job(world, "after-lora", lora, parent=jobs[4].exported))
    jobs.append(long_job(world, "whole"))
    train_all(jobs, CLUSTER, world / "storage")
    return {each.name: each for each in jobs}


def losses(trained: TrainingJob) -> list[float]:
    return [row["loss"] for row in metrics.read(trained.out)]


def test_every_zero_stage_takes_the_same_steps(trained: dict[str, TrainingJob]) -> None:
    reference = metrics.read(trained["zero0"].out)
    assert len(reference) == SHORT.steps
    assert reference[-1]["loss"] < reference[0]["loss"] - 0.1, "nothing was learned, so the comparison says nothing"
    for name in ("zero1", "zero2", "zero3"):
        for expected, row in zip(reference, metrics.read(trained[name].out), strict=True):
            assert row["loss"] == pytest.approx(expected["loss"], abs=5e-5)
            assert row["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)
    assert losses(trained["lora2"]) == pytest.approx(losses(trained["lora3"]), abs=5e-5)


def test_a_plain_torch_loop_on_one_process_takes_the_same_steps(world: Path, trained: dict[str, TrainingJob]) -> None:
    """The oracle: no DeepSpeed, no workers, no micro-batches, so that no scaling of losses can hide in them."""
    import torch
    from transformers import AutoModelForCausalLM

    from msm_ray.train.batches import micro_batches
    from msm_ray.train.job import Schedule
    from msm_ray.train.loop import summed_loss

    blocks = read_blocks(world / "blocks")
    schedule = Schedule(SHORT, len(blocks), 0)
    model = AutoModelForCausalLM.from_pretrained(world / "base")
    table = model.get_input_embeddings().weight
    groups = [{"params": [p for p in model.parameters() if p is not table]}, {"params": [table]}]
    optimizer = torch.optim.AdamW(groups, betas=SHORT.betas, weight_decay=SHORT.weight_decay)
    seen = []
    for step in range(SHORT.steps or 0):
        (batch,) = micro_batches(blocks, schedule.batch(step), passes=1, rows=8, pad=0, device=torch.device("cpu"))
        loss = summed_loss(model, batch) / int((batch.labels != -100).sum())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SHORT.clip)
        rest, embeddings = optimizer.param_groups
        rest["lr"], embeddings["lr"] = schedule.learning_rate(step), 3 * schedule.learning_rate(step)
        optimizer.step()
        optimizer.zero_grad()
        seen.append(float(loss.detach()))
    assert losses(trained["zero2"]) == pytest.approx(seen, abs=5e-5)


def test_what_is_exported_is_a_folder_that_others_can_use(trained: dict[str, TrainingJob]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    full = trained["zero2"].exported
    AutoModelForCausalLM.from_pretrained(full)
    assert AutoTokenizer.from_pretrained(full).chat_template
    names = {path.name for path in full.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "generation_config.json", "README.md"} <= names
    assert "final_loss" in (trained["zero2"].out / "README.md").read_text()
    assert not checkpoint.found(trained["zero2"].out)
    assert artifacts.is_committed(trained["zero2"].out)


def test_an_adapter_reloads_and_changes_the_base_and_continues_its_parent(trained: dict[str, TrainingJob]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([[10, 20, 30, 40]])

    def answer(*names: str) -> torch.Tensor:
        model = AutoModelForCausalLM.from_pretrained(trained["lora2"].base)
        for name in names:
            model = PeftModel.from_pretrained(model, trained[name].exported)
        with torch.no_grad():
            return model.eval()(input_ids=ids).logits

    assert (answer("lora2") - answer()).abs().max() > 1e-3
    assert (answer("lora2") - answer("lora3")).abs().max() < 1e-3
    for after, parent in (("after-lora", "lora2"), ("after-full", "zero2")):
        assert losses(trained[after])[0] < losses(trained[parent])[0] - 0.02, "it did not go on from its parent"


def test_what_is_committed_is_not_trained_again(world: Path, trained: dict[str, TrainingJob]) -> None:
    began = time.monotonic()
    train_all(list(trained.values()), CLUSTER, world / "storage")
    assert time.monotonic() - began < 1


def test_too_few_cpus_are_told_at_once(world: Path, ray_cluster: None) -> None:
    crowd = ClusterSettings(training=WorkerSettings(workers=500))
    with pytest.raises(PreflightError, match="500 logical CPUs"):
        train_all([job(world, "crowd", SHORT)], crowd, world / "storage")


@pytest.fixture(scope="module")
def uninterrupted(trained: dict[str, TrainingJob]) -> TrainingJob:
    return trained["long"]


def wait_for_checkpoint(out: Path, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not checkpoint.found(out):
        assert time.monotonic() < until, f"no checkpoint in {out} after {seconds} s"
        time.sleep(0.02)


def kill_a_worker(out: Path, killed: list[int]) -> None:
    wait_for_checkpoint(out)
    workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    os.kill(workers[-1].pid, signal.SIGKILL)
    killed.append(workers[-1].pid)


def test_sigkill_of_a_worker_leaves_the_same_bytes(world: Path, uninterrupted: TrainingJob) -> None:
    again, killed = long_job(world, "worker-killed"), []
    watcher = threading.Thread(target=kill_a_worker, args=(again.out, killed))
    watcher.start()
    train_all([again], CLUSTER, world / "storage")
    watcher.join()
    assert killed, "the training was over before a worker was killed"
    assert weights(again) == weights(uninterrupted)
    assert (again.out / metrics.FILE).read_bytes() == (uninterrupted.out / metrics.FILE).read_bytes()


def test_kill_of_the_driver_then_the_same_command_leaves_the_same_bytes(
    world: Path, uninterrupted: TrainingJob
) -> None:
    again = long_job(world, "driver-killed")
    command = [sys.executable, str(Path(__file__).with_name("driver_of_training.py")), str(world)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_checkpoint(again.out)
    below = [(p, p.name()) for p in psutil.Process(driver.pid).children(recursive=True)]
    driver.kill()
    driver.wait()
    assert not artifacts.is_committed(again.out)
    _, alive = psutil.wait_procs([p for p, name in below if "RayTrainWorker" in name], timeout=30)
    assert not alive, "workers of the killed driver still train"
    for process, _ in below:  # Ray's own agents outlive a killed driver by minutes
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    train_all([again], CLUSTER, world / "storage")
    assert weights(again) == weights(uninterrupted)
    assert (again.out / metrics.FILE).read_bytes() == (uninterrupted.out / metrics.FILE).read_bytes()


def test_a_checkpoint_of_other_settings_or_workers_is_refused(world: Path, ray_cluster: None) -> None:
    """Refusals on a real checkpoint; the loop runs in this process, with no Ray."""
    from msm_ray.train import loop

    class Stop(Exception):
        pass

    def stop(progress: metrics.Progress) -> None:
        raise Stop

    begun = job(world, "begun", SHORT.model_copy(update={"checkpoint_every": 2, "log_every": 3}))
    with pytest.raises(Stop):
        loop.train(begun, stop)
    assert [p.name for p in checkpoint.found(begun.out)] == ["step-000002"]
    with pytest.raises(StageError, match="other data or settings"):
        loop.train(dataclasses.replace(begun, seed=1))
    with pytest.raises(StageError, match="written by 1 workers, and there are 2") as caught:
        train_all([begun], CLUSTER, world / "storage")
    assert "Traceback" not in str(caught.value)
    shard = next((begun.out / checkpoint.FOLDER / "step-000002").rglob("*optim_states.pt"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StageError, match="cut off"):
        loop.train(begun)
    shard.write_bytes(whole)
    (begun.out / checkpoint.FOLDER / "step-000002" / checkpoint.FACTS).write_text("")
    with pytest.raises(StageError, match="not a checkpoint"):
        loop.train(begun)


def test_a_training_that_diverges_is_stopped_and_not_skipped_over(world: Path) -> None:
    from msm_ray.train import loop

    wild = SHORT.model_copy(update={"learning_rate": 1e30, "clip": 1e30})
    with pytest.raises(StageError, match="at step [2-7]; lower learning_rate"):
        loop.train(job(world, "diverging", wild))
