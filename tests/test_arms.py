"""What is refused before any engine starts, from the folders alone."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from hub_files import hub_llama, hub_qwen
from loopback_server import loopback
from tokenizers import Tokenizer, models

from msm_ray.errors import PreflightError, StageError
from msm_ray.placement.settings import ServeSettings
from msm_ray.rollouts import check_models
from msm_ray.serve.address import beside_proxy, take_port
from msm_ray.serve.app import engine_options
from msm_ray.serve.arms import read_arms, turn_end_id
from msm_ray.serve.checks import probe_prompts

CONFIG = {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 64, "tie_word_embeddings": False}


def folder(
    path: Path, template: str | None = "{{ messages }}", *, words: tuple[str, ...] = ("a", "b"), **config: object
) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "model.safetensors").write_bytes(b"")
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.enable_padding(length=len(path.name))  # a trainer's business
    tokenizer.save(str(path / "tokenizer.json"))
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


def as_trained(folder: Path, hub: Path) -> Path:
    """What transformers writes today of a folder from the hub: configuration, tokenizer, template."""
    from transformers import AutoConfig, AutoTokenizer

    AutoConfig.from_pretrained(hub).save_pretrained(folder)
    AutoTokenizer.from_pretrained(hub).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize("hub", [hub_llama, hub_qwen])
def test_a_base_from_the_hub_and_a_checkpoint_that_transformers_saved_of_it_are_one_shape(tmp_path: Path, hub) -> None:
    """Merges as strings against pairs, rope_theta against rope_parameters, dtype's two names, CRLF, a named template."""
    base = hub(tmp_path / "hub")
    trained = as_trained(tmp_path / "trained", base)
    before, after = (json.loads((each / "tokenizer.json").read_text())["model"] for each in (base, trained))
    assert before["merges"] != after["merges"]
    assert "rope_theta" not in json.loads((trained / "config.json").read_text())
    assert [arm.kind for arm in read_arms(base, {"aft": trained}, "x", on_cpu=True)] == ["base", "full"]


def edited(folder: Path, file: str, edit) -> None:
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    edit(content)
    (folder / file).write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("tokenizer.json", lambda t: t["model"]["merges"].reverse(), "words or merges"),
        ("tokenizer.json", lambda t: t["added_tokens"][-1].update(content="<|other|>"), "added tokens"),
        ("tokenizer.json", lambda t: t.update(normalizer={"type": "Lowercase"}), "ids of some texts"),
        ("config.json", lambda c: c["rope_parameters"].update(rope_theta=10000.0), "rope_parameters"),
        ("config.json", lambda c: c.update(num_hidden_layers=3), "num_hidden_layers"),
    ],
)
def test_what_differs_in_meaning_is_refused_by_name(tmp_path: Path, file: str, edit, message: str) -> None:
    base = hub_llama(tmp_path / "hub")
    odd = as_trained(tmp_path / "odd", base)
    edited(odd, file, edit)
    with pytest.raises(StageError, match=message):
        read_arms(base, {"odd": odd}, "x", on_cpu=True)


@pytest.mark.parametrize(("hub", "end"), [(hub_llama, "<|end_of_text|>"), (hub_qwen, "<|im_end|>")])
def test_an_engine_stops_where_the_template_ends_a_turn(tmp_path: Path, hub, end: str) -> None:
    base = hub(tmp_path / "hub")
    ids = Tokenizer.from_file(str(base / "tokenizer.json"))
    assert turn_end_id(base) == ids.token_to_id(end)
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'] }}<|eot_id|><|endoftext|>{% endfor %}"
    )
    assert turn_end_id(base) in (ids.token_to_id("<|eot_id|>"), ids.token_to_id("<|endoftext|>"))


def test_a_vocabulary_size_under_text_config_is_found(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", text_config={"vocab_size": 2})
    assert {token for row in probe_prompts(base, 4) for token in row} == {0, 1}


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


def test_our_own_addresses_go_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert beside_proxy("example.org, 10.0.0.1", "10.0.0.7") == "example.org,10.0.0.1,127.0.0.1,localhost,::1,10.0.0.7"
    with loopback() as server:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        check_models(server.address, [])


def test_a_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PreflightError, match=str(port)):
            take_port("127.0.0.1", port)
    assert take_port("127.0.0.1", 0) > 0
