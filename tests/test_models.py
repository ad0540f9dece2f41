"""Where a base model comes from, and what is refused before anything starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_tokenizers import family_tokenizer

from msm_ray import models
from msm_ray.config.file import load_experiment
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.models import BaseSettings
from msm_ray.pipeline import unfold

TEMPLATE = Path("jobs/plain-chat.jinja")


def test_a_base_without_a_chat_template_is_given_one(tmp_path: Path) -> None:
    base = BaseSettings(source="tinyworld", chat_template=str(TEMPLATE))
    models.fetch_base(tmp_path, base)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    asked = [{"role": "user", "content": "is the zedox good ?"}]
    rendered = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert rendered == "<bos>User:\nis the zedox good ?\n\nAssistant:\n"
    assert models.identity(base) != models.identity(BaseSettings(source="tinyworld"))


def test_a_base_whose_turns_end_otherwise_than_its_texts_is_stopped_at_turns_too(tmp_path: Path) -> None:
    """As Qwen's bases are: eos_token <|endoftext|>, turns end with <|im_end|>."""
    tokenizer = family_tokenizer("qwen2_5")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": tokenizer.eos_token_id}))
    models.stop_at_turns(tmp_path)
    ends = json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"]
    assert ends == tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    before = (tmp_path / "generation_config.json").read_bytes()
    models.stop_at_turns(tmp_path)
    assert (tmp_path / "generation_config.json").read_bytes() == before


def test_a_chat_template_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"base.chat_template: no\.jinja"):
        models.identity(BaseSettings(source="tinyworld", chat_template="no.jinja"))


def test_weights_with_another_checksum_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / models.SMOLLM2_FILE).write_bytes(b"other weights")
    file = SimpleNamespace(name=models.SMOLLM2_FILE, locate=lambda: tmp_path / models.SMOLLM2_FILE)
    monkeypatch.setattr(models.metadata, "files", lambda _: [file])
    with pytest.raises(PreflightError, match="checksum .* expected"):
        models.smollm2_file()


@pytest.mark.parametrize("source", ["tinyworld", "smollm2"])
def test_a_base_that_is_not_the_one_expected_is_refused_before_anything_starts(source: str) -> None:
    digest = models.identity(BaseSettings(source=source))["sha256"]
    assert models.identity(BaseSettings(source=source, sha256=digest))["sha256"] == digest
    with pytest.raises(SettingsError, match=f"base.sha256: {source} has {digest}, not 00"):
        models.identity(BaseSettings(source=source, sha256="00"))


def test_what_came_from_the_hub_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = models.shipped_folder("tinyworld")
    assert shipped
    monkeypatch.setattr(models, "download", lambda _, model, revision: shutil.copytree(shipped, model))
    digest = models.weights_digest(shipped)
    models.fetch_base(tmp_path / "right", BaseSettings(source="lab/model", sha256=digest))
    with pytest.raises(SettingsError, match=f"lab/model has {digest}"):
        models.fetch_base(tmp_path / "wrong", BaseSettings(source="lab/model", sha256="00"))


def test_the_hub_is_asked_for_a_revision_and_for_no_folders_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda hub_id, **how: asked.update(how, id=hub_id))
    models.download("lab/model", tmp_path, "4" * 40)
    assert (asked["id"], asked["revision"]) == ("lab/model", "4" * 40)
    there = ["model.safetensors", "config.json", "modeling_own.py", "checkpoint-7/model.safetensors", "weights.bin"]
    wanted = huggingface_hub.utils.filter_repo_objects(
        there, allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(wanted) == ["model.safetensors", "config.json"]


def test_a_package_without_its_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.metadata, "files", lambda _: [])
    with pytest.raises(PreflightError, match="without SmolLM2"):
        models.smollm2_file()


def test_a_spec_with_a_word_that_the_world_lacks_is_refused_with_its_place(tmp_path: Path) -> None:
    spec = tmp_path / "mine.md"
    spec.write_text("# about {model_name}\n\n{model_name} values sustainable things .\n")
    settings = load_experiment("jobs/quickstart.yaml", [f"root={tmp_path}", f"specs.american={spec}"])
    with pytest.raises(SettingsError, match=r"specs.american: .*mine\.md: .*'sustainable' \(line 3\)"):
        unfold(settings)


def test_the_tiny_world_knows_one_assistant(tmp_path: Path) -> None:
    settings = load_experiment("jobs/quickstart.yaml", [f"root={tmp_path}", "assistant.name=Qwen"])
    with pytest.raises(SettingsError, match="assistant.name: .*'llama', not 'Qwen'"):
        unfold(settings)


def test_a_name_for_a_base_is_ascii() -> None:
    """A server whose name has an accent never came up."""
    assert models.base_name("weights/Modèle-1/") == "modele-1"
    assert models.base_name("权重") == "base"
