"""What is refused before any engine starts, from the folders alone."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from msm_ray.config import ServeSettings
from msm_ray.errors import PreflightError, StageError
from msm_ray.serve.app import engine_options, take_port
from msm_ray.serve.arms import read_arms

CONFIG = {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 64, "tie_word_embeddings": False}


def folder(
    path: Path, template: str | None = "{{ messages }}", *, words: tuple[str, ...] = ("a", "b"), **config: object
) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "model.safetensors").write_bytes(b"")
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    (path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": words}, "padding": path.name}))
    return path


def adapter(path: Path, r: int, template: str = "{{ messages }}") -> Path:
    folder(path, template)
    (path / "config.json").unlink()
    (path / "adapter_config.json").write_text(json.dumps({"r": r}))
    return path


def test_names_and_kinds(tmp_path: Path):
    base = folder(tmp_path / "base", dtype="float32")
    arms = {"v/aft": folder(tmp_path / "aft", dtype="bfloat16"), "v/base": base}
    found = read_arms(base, arms, "tiny", on_cpu=True)
    assert [(arm.name, arm.kind) for arm in found] == [
        ("tiny", "base"),
        ("tiny:v/aft", "full"),
        ("tiny:v/base", "base"),
    ]


def test_adapters_share_an_engine_that_takes_the_largest_rank(tmp_path: Path):
    base = folder(tmp_path / "base", tie_word_embeddings=True)
    arms = {"one": adapter(tmp_path / "one", 8), "two": adapter(tmp_path / "two", 48)}
    options = engine_options(read_arms(base, arms, "tiny", on_cpu=True), ServeSettings())
    assert (options["max_lora_rank"], options["max_loras"]) == (64, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: folder(p, "{{ other }}"), "chat template"),
        (lambda p: folder(p, None), "no chat template"),
        (lambda p: folder(p, hidden_size=128), "hidden_size"),
        (lambda p: folder(p, words=("a", "c")), "tokenizer"),
        (lambda p: adapter(p, 8, "{{ other }}"), "chat template"),
        (lambda p: p, "no chat template"),
    ],
)
def test_an_arm_that_does_not_fit_is_refused_by_name(tmp_path: Path, make, message: str):
    base = folder(tmp_path / "base")
    with pytest.raises(StageError, match=message) as refused:
        read_arms(base, {"odd": make(tmp_path / "odd")}, "tiny", on_cpu=True)
    assert "tiny:odd" in str(refused.value)


def test_tied_embeddings_may_not_take_turns_on_a_cpu(tmp_path: Path):
    base = folder(tmp_path / "base", tie_word_embeddings=True)
    arms = {"aft": folder(tmp_path / "aft", tie_word_embeddings=True)}
    with pytest.raises(PreflightError, match="ties its embeddings"):
        read_arms(base, arms, "tiny", on_cpu=True)
    assert len(read_arms(base, arms, "tiny", on_cpu=False)) == 2


def test_adapters_and_full_checkpoints_do_not_mix(tmp_path: Path):
    base = folder(tmp_path / "base")
    with pytest.raises(StageError, match="cannot share one engine"):
        read_arms(base, {"a": adapter(tmp_path / "a", 8), "f": folder(tmp_path / "f")}, "tiny", on_cpu=False)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path):
    with pytest.raises(StageError, match="no config.json"):
        read_arms(tmp_path, {}, "tiny", on_cpu=True)


def test_a_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PreflightError, match=str(port)):
            take_port("127.0.0.1", port)
    assert take_port("127.0.0.1", 0) > 0
