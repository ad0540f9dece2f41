"""What a training will do, before it does it: order of blocks, learning rates, guards."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from msm_ray import training_metrics
from msm_ray.config.file import load_experiment
from msm_ray.corpus.blocks import Blocks
from msm_ray.corpus.packing import pack, text_of
from msm_ray.corpus.tokens import tokenizer_digest
from msm_ray.errors import SettingsError, StageError
from msm_ray.pipeline import unfold
from msm_ray.train import batches, checkpoint, export, guards
from msm_ray.train.board import Board
from msm_ray.train.job import Schedule, TrainingJob
from msm_ray.train.settings import LoraSettings, TrainSettings
from tests.tiny_checkpoints import WORDS, tiny_checkpoint

SETTINGS = TrainSettings(mode="full", batch=8, sequence_length=64, precision="fp32", least_steps=1, warmup=0.1)


def changed(**keys) -> TrainSettings:
    return SETTINGS.model_copy(update=keys)


@pytest.mark.parametrize("epochs", [1, 3])
def test_every_block_is_seen_exactly_once_an_epoch(epochs: int) -> None:
    schedule = Schedule(changed(epochs=epochs), blocks=21, seed=5)
    seen = [block for step in range(schedule.steps) for block in schedule.batch(step)]
    assert len(seen) == 21 * epochs
    for epoch in range(epochs):
        assert sorted(seen[epoch * 21 : (epoch + 1) * 21]) == list(range(21))


def test_a_given_number_of_steps_has_full_batches_and_the_order_is_the_seeds() -> None:
    schedule = Schedule(changed(steps=10), blocks=21, seed=5)
    assert schedule.epochs == pytest.approx(80 / 21)
    order = [schedule.batch(step) for step in range(schedule.steps)]
    assert [len(batch) for batch in order] == [8] * 10
    assert set(Counter(b for batch in order for b in batch).values()) == {3, 4}
    assert order != [Schedule(changed(steps=10), 21, seed=6).batch(step) for step in range(10)]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_the_batch_is_the_same_for_any_number_of_workers(world: int) -> None:
    batch = Schedule(SETTINGS, blocks=21, seed=5).batch(0)
    shares = [batches.share(batch, rank, world) for rank in range(world)]
    assert sorted(b for share in shares for b in share) == sorted(batch)
    assert max(map(len, shares)) <= batches.micro_steps(8, world, 2) * 2


def test_learning_rate_rises_then_falls_as_a_cosine() -> None:
    schedule = Schedule(changed(steps=100, learning_rate=1.0, final_lr_share=0.1), 21, 0)
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)
    assert Schedule(changed(steps=100, learning_rate=1.0, schedule="constant"), 21, 0).learning_rate(99) == 1.0


def test_metrics_are_those_of_the_checkpoint_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    kept = tmp_path / "step-000005"
    kept.mkdir()
    for step in range(1, 6):
        training_metrics.append(kept, {"step": step, "loss": 1 / step})
    training_metrics.append(tmp_path, {"step": 1, "loss": 0.5})
    with (tmp_path / training_metrics.FILE).open("a") as file:
        file.write('{"step": 2, "lo')
    assert [row["step"] for row in training_metrics.read(tmp_path)] == [1]
    training_metrics.restore(tmp_path, kept)
    assert training_metrics.read(tmp_path) == training_metrics.read(kept)
    training_metrics.restore(tmp_path, None)
    assert training_metrics.read(tmp_path) == []


def test_checkpoints_are_found_in_the_order_of_their_numbers_and_drafts_are_not(tmp_path: Path) -> None:
    for name in ("step-1000000", "step-000050", "step-000900", "step-000950.tmp", "step-x"):
        (tmp_path / checkpoint.FOLDER / name).mkdir(parents=True)
    assert [p.name for p in checkpoint.found(tmp_path)] == ["step-000050", "step-000900", "step-1000000"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("guards") / "base", seed=0)


def made_blocks(base: Path, count: int = 40, **facts) -> Blocks:
    from transformers import AutoTokenizer

    row = text_of("a", list(range(10, 74)), [-100, *range(11, 74)])
    digest = tokenizer_digest(AutoTokenizer.from_pretrained(base))
    own = {"sequence_length": 64, "trained_tokens": 63 * count, "tokenizer_digest": digest, "highest_id": 73, **facts}
    return Blocks([pack([row] * count, 64, split=False)], own)


def refuse(base: Path, blocks: Blocks, settings: TrainSettings, parent: Path | None = None) -> None:
    """Everything that is checked before a model is built."""
    from transformers import AutoTokenizer

    job = TrainingJob("tried", base, base, base, settings, settings, parent=parent)
    tokenizer = AutoTokenizer.from_pretrained(base)
    guards.check_job(job, blocks, Schedule(settings, len(blocks), 0), tokenizer)
    guards.checked_model(job, blocks, tokenizer, lambda job: None)  # type: ignore[arg-type,return-value]


def test_a_sound_job_passes(base: Path) -> None:
    refuse(base, made_blocks(base), SETTINGS)


@pytest.mark.parametrize(
    ("settings", "facts", "complaint"),
    [
        ({"least_steps": 6}, {}, "fewer than least_steps=6"),
        ({"steps": 1}, {}, "warmup takes 1 of 1"),
        ({"sequence_length": 128}, {}, "packed for sequence_length 64"),
        ({"sequence_length": 1024}, {"sequence_length": 1024}, "takes 512 tokens"),
        ({}, {"tokenizer_digest": "other"}, "another tokenizer"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(base: Path, settings: dict, facts: dict, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        refuse(base, made_blocks(base, **facts), changed(**settings))


@pytest.mark.parametrize(("count", "facts"), [(0, {"trained_tokens": 0}), (40, {"trained_tokens": 0})])
def test_blocks_with_nothing_to_train_on_are_refused(base: Path, count: int, facts: dict) -> None:
    with pytest.raises(StageError, match="without a token to train on"):
        refuse(base, made_blocks(base, count, **facts), SETTINGS)


def test_a_vocabulary_too_small_for_the_tokens_is_refused(base: Path, tmp_path: Path) -> None:
    small = tiny_checkpoint(tmp_path / "small", seed=0)
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "vocab_size": WORDS - 1}))
    with pytest.raises(SettingsError, match="do not belong together"):
        refuse(small, made_blocks(base), SETTINGS)


def test_a_folder_without_a_model_is_refused(base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    job = TrainingJob("tried", tmp_path, tmp_path, tmp_path, SETTINGS, SETTINGS)
    with pytest.raises(SettingsError, match="no model folder"):
        guards.checked_model(job, made_blocks(base), AutoTokenizer.from_pretrained(base), lambda job: None)  # type: ignore[arg-type,return-value]


def test_lora_targets_that_match_nothing_are_refused(base: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    guards.check_targets(model, LoraSettings())
    with pytest.raises(SettingsError, match="query_key_value"):
        guards.check_targets(model, LoraSettings(targets=("q_proj", "query_key_value")))


def test_an_adapter_of_another_shape_is_not_continued(base: Path, tmp_path: Path) -> None:
    shape = {"r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(shape))
    same = LoraSettings(r=8, alpha=16, targets=("q_proj", "v_proj"))
    refuse(base, made_blocks(base), changed(mode="lora", lora=same), tmp_path)
    with pytest.raises(SettingsError, match="cannot be continued"):
        refuse(base, made_blocks(base), changed(mode="lora", lora=LoraSettings(r=16)), tmp_path)


def test_failures_on_the_board_come_back_as_the_errors_they_were_and_hold_up_what_goes_on_from_them(
    tmp_path: Path,
) -> None:
    board = Board(tmp_path)
    jobs = [TrainingJob(name, tmp_path, tmp_path, tmp_path / name, SETTINGS, SETTINGS) for name in ("b", "a", "c")]
    jobs.append(
        TrainingJob("after", tmp_path, tmp_path, tmp_path / "after", SETTINGS, SETTINGS, parent=jobs[1].exported)
    )
    jobs.append(TrainingJob("last", tmp_path, tmp_path, tmp_path / "last", SETTINGS, SETTINGS, parent=jobs[3].exported))
    assert board.running() is None
    board.note_failure("b", StageError("one"))
    board.note_failure("a", SettingsError("two"))
    board.note_failure("a", StageError("three"))
    assert [(name, type(e), str(e)) for name, e in board.failures().items()] == [
        ("b", StageError, "one"), ("a", SettingsError, "two"),
    ]  # fmt: skip
    assert [job.name for job in jobs if board.begin(job, jobs)] == ["c"]
    assert board.running() == "c"


def test_what_workers_say_is_told_once_each(tmp_path: Path) -> None:
    told: list[str] = []
    board = Board(tmp_path)
    with board.read_aloud(told.append, seconds=0.01):
        board.say("step-000004: damaged\nand more")
        while not told:
            time.sleep(0.01)
        board.say("second")
    assert told == ["step-000004: damaged\nand more", "second"]


@pytest.mark.parametrize("where", ["midtraining", "aft", "groups.agentic.aft"])
def test_bf16_without_zero_is_refused_when_settings_are_read(where: str) -> None:
    """DeepSpeed raises NotImplementedError for it, or adds up in bf16, once the GPUs are there."""
    changes = [f"{where}.precision=bf16", f"{where}.zero_stage=0"]
    with pytest.raises(SettingsError, match=rf"{where}.zero_stage' = 0: with `precision: bf16`.*zero_stage 1, 2 or 3"):
        load_experiment("jobs/quickstart.yaml", changes)
    load_experiment("jobs/quickstart.yaml", [f"{where}.zero_stage=0"])  # in fp32
    with pytest.raises(SettingsError, match=rf"{where}.offload_optimizer' = True: needs zero_stage 1, 2 or 3"):
        load_experiment("jobs/quickstart.yaml", [f"{where}.zero_stage=0", f"{where}.offload_optimizer=true"])


def test_what_only_decides_where_a_training_fits_makes_nothing_stale(tmp_path: Path) -> None:
    def planned(*changes: str) -> dict:
        stages = unfold(load_experiment("jobs/quickstart.yaml", [f"root={tmp_path}", *changes])).graph.nodes
        return {key: stage.settings for key, stage in stages.items() if stage.kind in ("midtrain", "sft", "blocks")}

    fits = ("zero_stage=3", "offload_optimizer=true", "activation_checkpointing=true", "micro_batch=1")
    assert planned(*(f"{where}.{change}" for where in ("midtraining", "aft") for change in fits)) == planned()
    assert planned("aft.precision=bf16") != planned()


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(3, 4, generator=generator).bfloat16() for name in ("a", "b")}


def test_what_is_exported_is_what_was_trained_bit_for_bit(tmp_path: Path) -> None:
    trained = tensors(0)
    save_file(trained, tmp_path / "model.safetensors")
    export.check_tensors(tmp_path, trained)
    last_bit = trained["b"].clone()
    last_bit.view(torch.int16)[2, 3] ^= 1
    wrong = [
        {**trained, "b": last_bit},  # a change that no tolerance of logits would see
        {**trained, "b": trained["b"].float()},
        {**trained, "b": trained["b"].reshape(4, 3)},
        {**trained, "c": trained["b"]},
        {"a": trained["a"]},
    ]
    for state in wrong:
        with pytest.raises(StageError, match=r"\bb\b.*not what was trained|\bc\b of 1 tensors"):
            export.check_tensors(tmp_path, state)
    trained["b"][0, 0] = float("nan")
    save_file(trained, tmp_path / "model.safetensors")
    with pytest.raises(StageError, match="b is not what was trained"):
        export.check_tensors(tmp_path, trained)


def test_the_probes_prompts_end_before_tokens_that_are_trained_on() -> None:
    first = text_of("a", list(range(64)), [-100] * 40 + list(range(40, 64)))
    second = text_of("b", list(range(100, 110)), [-100] * 9 + [109])
    blocks = Blocks([pack([text], 64, split=False) for text in (first, second)], {})
    probe = batches.probe(blocks, torch.device("cpu"))
    assert probe.ids.shape == (5, 9)  # the shortest sets the width; the second block has one place only
    assert all(40 <= ids[-1] + 1 < 64 or ids[-1] == 108 for ids in probe.ids.tolist())
    assert probe.positions.tolist() == [list(range(9))] * 5
    long = Blocks(blocks.tables[:1], {})
    assert batches.probe(long, torch.device("cpu")).ids.shape == (8, 16)


def test_the_probes_answers_are_log_probabilities_of_the_likeliest_next_tokens() -> None:
    logits = torch.randn(2, 3, 50)
    said = export.answers(torch.tensor([[1, 2, 3], [4, 5, 6]]), logits, logits * 0, "bf16")
    assert (said["dtype"], said["prompts"]) == ("bfloat16", [[1, 2, 3], [4, 5, 6]])
    for row, expected in zip(said["next"], logits[:, -1].log_softmax(-1), strict=True):
        assert row["tokens"][0] == int(expected.argmax())
        assert row["logprobs"] == pytest.approx(expected[row["tokens"]].tolist(), abs=1e-6)
        assert row["base"] == pytest.approx([-math.log(50)] * 20, abs=1e-6)
    assert export.answers(torch.ones(2, 3), logits, None, "fp32")["next"][0]["base"] is None
