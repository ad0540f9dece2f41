"""Training for real: Ray Train, DeepSpeed on two workers, killed and resumed. The models are random and tiny."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from msm_ray import training_metrics
from msm_ray.corpus.blocks import read_blocks
from msm_ray.corpus.building import build_blocks
from msm_ray.corpus.tokenizing import Rendering
from msm_ray.errors import PreflightError, StageError
from msm_ray.graph import artifacts
from msm_ray.graph.artifacts import FORMAT
from msm_ray.placement.settings import ClusterSettings, WorkerSettings
from msm_ray.train import checkpoint
from msm_ray.train.job import TrainingJob
from msm_ray.train.launch import train_all
from msm_ray.train.probe import PROBE
from msm_ray.train.settings import LoraSettings, TrainSettings
from tests.driver_of_training import LONG, halves, long_job
from tests.tiny_checkpoints import tiny_checkpoint

pytestmark = pytest.mark.real

CLUSTER = ClusterSettings(training=WorkerSettings(workers=2))
SHORT = LONG.model_copy(update={"steps": 8, "checkpoint_every": 100})
LORA = LoraSettings(r=4, alpha=8)
TINY = Path(str(resources.files("msm_ray.tinyworld"))) / "base"
DEFAULT = TrainSettings(steps=10, batch=8, micro_batch=2, sequence_length=128, learning_rate=5e-3, least_steps=1)
"""The default recipe in miniature: an adapter of r=64, bf16, ZeRO-2; at a rate that a few steps can learn at.

On the tiny world's base: reloaded in float32, as PEFT does by itself, its adapters move logits by .25 to .31.
"""
TIGHT = DEFAULT.model_copy(update={"zero_stage": 3, "activation_checkpointing": True})
"""The same where memory is short."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny Qwen3 and packed blocks of documents that can be learned (each counts up from some word)."""
    folder = tmp_path_factory.mktemp("training")
    tiny_checkpoint(folder / "base", seed=0)
    write_blocks(folder / "blocks", folder / "base", [f"w{i}" for i in range(900)], "<end>")
    known = Tokenizer.from_file(str(TINY / "tokenizer.json")).get_vocab()
    write_blocks(folder / "tiny-blocks", TINY, sorted(word for word in known if word.isalpha()), None)
    return folder


def write_blocks(out: Path, tokenizer: Path, words: list[str], separator: str | None) -> None:
    """300 documents of 10 to 60 words, each in steps of three through the words."""
    rng = random.Random(0)
    rows = []
    for i in range(300):
        first = rng.randrange(len(words))
        text = " ".join(words[(first + 3 * j) % len(words)] for j in range(rng.randint(10, 60)))
        rows.append({"id": f"{i:05d}", "text": text})
    (out / "documents").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), out / "documents" / "0.parquet")
    build_blocks(
        out, kind="documents", main=out / "documents", other=None, tokenizer=tokenizer, settings=LONG, seed=0,
        rendering=Rendering(separator=separator),
    )  # fmt: skip


def job(world: Path, name: str, settings: TrainSettings, **more) -> TrainingJob:
    record = {"format": FORMAT, "stage": "midtrain", "name": name, "version": 1, "settings": {}, "inputs": {}}
    return TrainingJob(name, world / "base", world / "blocks", world / name, *halves(settings), record=record, **more)


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
    assert max(len(block.lengths) for block in blocks) > 1
    assert len(blocks[last].ids) < 128
    alone = 0.0
    with torch.no_grad():
        packed = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits
        for row, block in enumerate([0, 1, last]):
            start = 0
            for length in blocks[block].lengths.tolist():
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
    jobs += bf16_jobs(world)
    jobs += [long_job(world, "whole"), long_adapter(world, "whole-adapter")]
    assert train_all(jobs, CLUSTER, world / "storage") == {}
    return {each.name: each for each in jobs}


def bf16_jobs(world: Path) -> list[TrainingJob]:
    """The default recipe, its SFT, the same where memory is short, and full fine-tuning under every stage that can."""
    default = adapter_job(world, "default", DEFAULT)
    adapters = [
        default,
        adapter_job(world, "tight", TIGHT, seed=1),
        adapter_job(world, "after-default", TIGHT, parent=default.exported),
    ]
    full = SHORT.model_copy(update={"precision": "bf16", "activation_checkpointing": True})
    return adapters + [job(world, f"bf16-full{n}", full.model_copy(update={"zero_stage": n})) for n in (1, 2, 3)]


def adapter_job(world: Path, name: str, settings: TrainSettings, **more) -> TrainingJob:
    """One of an adapter of the tiny world's base."""
    made = job(world, name, settings, base_source=str(TINY), **more)
    return dataclasses.replace(made, base=TINY, blocks=world / "tiny-blocks")


def long_adapter(world: Path, out: str) -> TrainingJob:
    """Long enough to be killed on the way, under the settings that a checkpoint has most to keep of."""
    settings = TIGHT.model_copy(update={"steps": 24, "checkpoint_every": 5})
    return dataclasses.replace(adapter_job(world, "long-adapter", settings, seed=3), out=world / out)


def losses(trained: TrainingJob) -> list[float]:
    return [row["loss"] for row in training_metrics.read(trained.out)]


def test_every_zero_stage_takes_the_same_steps(trained: dict[str, TrainingJob]) -> None:
    reference = training_metrics.read(trained["zero0"].out)
    assert len(reference) == SHORT.steps
    assert reference[-1]["loss"] < reference[0]["loss"] - 0.1, "nothing was learned, so the comparison says nothing"
    for name in ("zero1", "zero2", "zero3"):
        for expected, row in zip(reference, training_metrics.read(trained[name].out), strict=True):
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
    for after, parent in (("after-default", "default"), ("after-full", "zero2")):
        assert losses(trained[after])[0] < losses(trained[parent])[0] - 0.02, "it did not go on from its parent"


def test_bf16_learns_as_fp32_does_and_an_sft_goes_on_from_its_parent(trained: dict[str, TrainingJob]) -> None:
    for n in (1, 2, 3):
        assert losses(trained[f"bf16-full{n}"]) == pytest.approx(losses(trained["zero2"]), rel=0.01)
    assert losses(trained["default"])[-1] < losses(trained["default"])[0] - 0.1
    assert losses(trained["after-default"])[0] < losses(trained["default"])[0] - 0.1


def test_exports_of_bf16_are_read_back_as_they_were_trained(trained: dict[str, TrainingJob]) -> None:
    """By transformers and PEFT; `probe.json` has what the training's own engine answered."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    for name in ("default", "tight", "after-default", "bf16-full1", "bf16-full2", "bf16-full3"):
        folder = trained[name].exported
        model = AutoModelForCausalLM.from_pretrained(
            TINY if folder.name == "adapter" else folder, dtype=torch.bfloat16
        ).eval()
        if folder.name == "adapter":
            model = PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).eval()
        probe = json.loads((trained[name].out / PROBE).read_text())
        with torch.no_grad():
            ids = torch.tensor(probe["prompts"])
            places = torch.arange(ids.shape[1]).expand_as(ids)
            logits = model(input_ids=ids, position_ids=places, use_cache=False).logits[:, -1].float()
        for said, expected in zip(probe["next"], logits.log_softmax(-1), strict=True):
            assert said["logprobs"] == pytest.approx(expected[said["tokens"]].tolist(), abs=0.02)
            assert (said["base"] is not None) == (folder.name == "adapter")


def test_vllm_answers_with_each_adapter_as_its_training_did(trained: dict[str, TrainingJob]) -> None:
    arms = ("default", "tight", "after-default")
    script, adapters = Path(__file__).with_name("asked_of_vllm.py"), [str(trained[arm].exported) for arm in arms]
    ended = subprocess.run([sys.executable, str(script), str(TINY), *adapters], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    tables = json.loads(ended.stdout.splitlines()[-1])
    probes = {arm: json.loads((trained[arm].out / PROBE).read_text())["next"] for arm in arms}

    def distance(table: list[dict[str, float]], probe: list[dict], of: str = "logprobs") -> float:
        pairs = [
            (row[str(t)], p)
            for row, said in zip(table, probe, strict=True)
            for t, p in zip(said["tokens"], said[of], strict=True)
        ]
        return sum(abs(served - trained) for served, trained in pairs) / len(pairs)

    for arm in arms:
        far = {other: distance(tables[arm], probes[other]) for other in arms}
        far["base"] = distance(tables[arm], probes[arm], "base")
        assert min(far, key=far.__getitem__) == arm, far
        assert far[arm] < sorted(far.values())[1] / 2, far
        assert distance(tables["base"], probes[arm], "base") < distance(tables["base"], probes[arm]) / 2


def test_an_adapter_is_the_same_wherever_its_run_lies(world: Path, trained: dict[str, TrainingJob]) -> None:
    """The same weights under two roots have one digest, no folder of either is named, and PEFT finds the base after a move."""
    from peft import AutoPeftModelForCausalLM

    from msm_ray.train import loop

    outs = []
    for root in (world / "one", world / "two"):
        shutil.copytree(TINY, root / "base" / "tiny@1" / "model")
        shutil.copytree(world / "tiny-blocks", root / "blocks" / "b@1")
        places = {"base": root / "base" / "tiny@1" / "model", "blocks": root / "blocks" / "b@1"}
        moved = adapter_job(world, "moved", DEFAULT)
        moved = dataclasses.replace(moved, out=root / "sft" / "x@1", **places)
        loop.train(moved)
        outs.append(moved.out)
    one, two = (artifacts.content_digest(out) for out in outs)
    assert one == two
    assert not [p for p in outs[0].rglob("*") if p.is_file() and str(world / "one").encode() in p.read_bytes()]
    (world / "one").rename(world / "moved-away")
    AutoPeftModelForCausalLM.from_pretrained(world / "moved-away" / "sft" / "x@1" / "adapter")


def test_what_is_committed_is_not_trained_again(world: Path, trained: dict[str, TrainingJob]) -> None:
    began = time.monotonic()
    train_all(list(trained.values()), CLUSTER, world / "storage")
    assert time.monotonic() - began < 1


def test_too_few_cpus_are_told_at_once(world: Path, ray_cluster: None) -> None:
    crowd = ClusterSettings(training=WorkerSettings(workers=500))
    with pytest.raises(PreflightError, match="500 logical CPUs"):
        train_all([job(world, "crowd", SHORT)], crowd, world / "storage")


def wait_for_checkpoint(out: Path, seconds: float = 400) -> None:
    until = time.monotonic() + seconds
    while not checkpoint.found(out):
        assert time.monotonic() < until, f"no checkpoint in {out} after {seconds} s"
        time.sleep(0.02)


def kill_a_worker(out: Path, killed: list[int]) -> None:
    wait_for_checkpoint(out)
    workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())]
    os.kill(workers[-1].pid, signal.SIGKILL)
    killed.append(workers[-1].pid)


def train_and_lose_a_worker(jobs: list[TrainingJob], doomed: TrainingJob, world: Path) -> None:
    """Train them all, the doomed one among them, which loses a worker on its way."""
    killed = list[int]()
    watcher = threading.Thread(target=kill_a_worker, args=(doomed.out, killed))
    watcher.start()
    assert train_all(jobs, CLUSTER, world / "storage") == {}
    watcher.join()
    assert killed, "the training was over before a worker was killed"


def assert_same_bytes(again: TrainingJob, undisturbed: TrainingJob) -> None:
    assert weights(again) == weights(undisturbed)
    curve, expected = (each.out / training_metrics.FILE for each in (again, undisturbed))
    assert curve.read_bytes() == expected.read_bytes()


@pytest.mark.soak
def test_sigkill_of_a_worker_of_a_full_training_leaves_the_same_bytes(
    world: Path, trained: dict[str, TrainingJob]
) -> None:
    again = long_job(world, "full-worker-killed")
    train_and_lose_a_worker([again], again, world)
    assert_same_bytes(again, trained["long"])


def kill_the_driver(again: TrainingJob, world: Path) -> None:
    """Train in a driver of its own on a Ray of its own, and SIGKILL it on the way: none of its workers goes on."""
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


def test_kills_of_the_driver_and_of_a_worker_leave_the_same_bytes(world: Path, trained: dict[str, TrainingJob]) -> None:
    """The driver's in a full training; a worker's in an adapter's with bf16, ZeRO-3 and activation checkpointing."""
    driver_killed, worker_killed = long_job(world, "driver-killed"), long_adapter(world, "worker-killed")
    kill_the_driver(driver_killed, world)
    train_and_lose_a_worker([driver_killed, worker_killed], worker_killed, world)
    assert_same_bytes(driver_killed, trained["long"])
    assert_same_bytes(worker_killed, trained["long-adapter"])


class Stop(Exception):
    """Ends a training as Ctrl-C would."""


def stop(progress: training_metrics.Progress) -> None:
    raise Stop


BEGUN = SHORT.model_copy(update={"checkpoint_every": 2, "log_every": 5})


@pytest.fixture(scope="module")
def begun(world: Path) -> TrainingJob:
    """A training by this process alone that ended on its way and left two checkpoints."""
    from msm_ray.train import loop

    made = job(world, "begun", BEGUN)
    with pytest.raises(Stop):
        loop.train(made, stop)
    assert [p.name for p in checkpoint.found(made.out)] == ["step-000002", "step-000004"]
    return made


def test_a_checkpoint_that_cannot_be_gone_on_from_costs_no_more_than_it_must(world: Path, begun: TrainingJob) -> None:
    """A real checkpoint, damaged in several ways; the loop runs in this process, with no Ray."""
    from msm_ray.train import loop

    whole = job(world, "undisturbed", BEGUN)
    loop.train(whole)
    with pytest.raises(StageError, match="other data or settings"):
        loop.train(dataclasses.replace(begun, seed=1))

    def copy(name: str, **keys) -> TrainingJob:
        shutil.copytree(begun.out, world / name)
        content, where = halves(BEGUN.model_copy(update=keys))
        return dataclasses.replace(begun, out=world / name, settings=content, where=where)

    def went_on(again: TrainingJob) -> list[str]:
        said: list[str] = []
        loop.train(again, say=said.append)
        assert [row["step"] for row in training_metrics.read(again.out)] == list(range(1, 9))
        return said

    damaged = copy("damaged", activation_checkpointing=True)  # which may change at any time
    (shard,) = (damaged.out / checkpoint.FOLDER / "step-000004").rglob("*optim_states.pt")
    with shard.open("r+b") as file:  # one byte in the middle: still an archive, of the right size
        file.seek(shard.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    (told,) = went_on(damaged)
    assert f"step-000004: damaged (state/{shard.name})" in told
    assert weights(damaged) == weights(whole)

    offloaded = copy("offloaded", offload_optimizer=True)
    assert went_on(offloaded) == []
    assert losses(offloaded) == pytest.approx(losses(whole), abs=5e-5)

    restaged = copy("restaged", zero_stage=3, offload_optimizer=True)
    told = went_on(restaged)
    layouts = "zero_stage 2 (DeepSpeedZeroOptimizer)", "zero_stage 3 (DeepSpeedZeroOptimizer_Stage3)"
    assert [line.partition(": ")[2] for line in told] == [
        *[f"written with {layouts[0]}, which {layouts[1]} cannot read; going on without it"] * 2,
        "no checkpoint that can be read; the training starts from its parent",
    ]
    assert losses(restaged) == pytest.approx(losses(whole), abs=5e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_an_interrupted_adapter_in_bf16_ends_with_the_same_bytes(world: Path, stage: int) -> None:
    from msm_ray.train import loop

    settings = DEFAULT.model_copy(update={"zero_stage": stage, "checkpoint_every": 4, "log_every": 5})
    whole, again = (adapter_job(world, f"{name}{stage}", settings) for name in ("at-once", "in-two"))
    loop.train(whole)
    with pytest.raises(Stop):
        loop.train(again, stop)
    assert [p.name for p in checkpoint.found(again.out)] == ["step-000004"]
    loop.train(again)
    assert weights(again) == weights(whole)


def test_a_training_that_diverges_is_stopped_and_not_skipped_over(world: Path) -> None:
    from msm_ray.train import loop

    wild = SHORT.model_copy(update={"learning_rate": 1e30, "clip": 1e30})
    with pytest.raises(StageError, match="at step [2-7]; lower learning_rate"):
        loop.train(job(world, "diverging", wild))


def test_a_job_that_fails_ends_its_own_chain_at_once_and_no_other(
    world: Path, begun: TrainingJob, ray_cluster: None
) -> None:
    """Two are refused by all ranks, one meets an error on one rank alone, one loses a worker each time."""

    class OnOneRank(TrainingJob):
        def __getattribute__(self, name: str) -> Any:
            if name == "seed" and os.environ.get("RANK") == "1" and sys._getframe(1).f_code.co_name == "_step":
                if self.name == "crashes":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise StageError("met on rank 1 alone")
            return super().__getattribute__(name)

    settings = SHORT.model_copy(update={"steps": 2})
    wild = job(world, "wild", SHORT.model_copy(update={"learning_rate": 1e30, "clip": 1e30}))
    odd = [OnOneRank(**{**vars(job(world, name, settings)), "name": name}) for name in ("alone", "crashes")]
    chains = [(each, job(world, f"after-{each.name}", settings, parent=each.exported)) for each in (wild, *odd)]
    of_one = dataclasses.replace(begun, out=Path(shutil.copytree(begun.out, world / "of-one")))
    jobs = [of_one, *(each for chain in chains for each in chain), job(world, "sound", settings)]
    began = time.monotonic()
    failures = train_all(jobs, CLUSTER.model_copy(update={"worker_failures": 1}), world / "storage")
    assert time.monotonic() - began < 600, "a rank waited for one that was gone"
    assert list(failures) == ["begun", "wild", "alone", "crashes"]
    assert "written by 1 workers, and there are 2" in str(failures["begun"])
    assert "Traceback" not in str(failures["begun"])
    assert "lower learning_rate" in str(failures["wild"])
    assert str(failures["alone"]) == "met on rank 1 alone"
    assert "goes on from the newest checkpoint" in str(failures["crashes"])
    assert [each.name for each in jobs if artifacts.is_committed(each.out)] == ["sound"]
    assert not [each for each in jobs if each.name.startswith("after-") and each.out.exists()]
