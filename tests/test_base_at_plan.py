"""A base in a folder: its template, tokenizer and configuration are read as files before anything starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_preflight import findings

from msm_ray.preflight import Finding

TEMPLATES = {
    "writes the date": (
        "{{ strftime_now('%d %b') }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}", "today's date"
    ),
    "never ends": ("{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}", "end"),
}  # fmt: skip


@pytest.fixture
def base(tmp_path: Path, tiny_base: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(tiny_base, folder)
    return folder


def of_base(folder: Path, *overrides: str) -> list[Finding]:
    return [f for f in findings("jobs/quickstart.yaml", f"base.source={folder}", *overrides) if "base." in f.key]


def test_a_sound_base_has_no_finding(base: Path) -> None:
    assert of_base(base) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_cannot_be_trained_on_is_told(base: Path, name: str) -> None:
    template, said = TEMPLATES[name]
    (base / "chat_template.jinja").write_text(template)
    told = of_base(base)
    assert any(said in f.what and "base.chat_template" in f.remedy + f.what for f in told), told


def test_a_base_without_a_template_needs_one_and_its_midtrained_arms_chats(base: Path) -> None:
    (base / "chat_template.jinja").unlink()
    told = findings("jobs/quickstart.yaml", f"base.source={base}")
    assert {("base.chat_template", "error"), ("arms.values/msm-am", "error")} <= {(f.key, f.severity) for f in told}
    own = findings("jobs/quickstart.yaml", f"base.source={base}", "base.chat_template=jobs/plain-chat.jinja")
    assert "base.chat_template" not in {f.key for f in own}


def test_a_template_that_refuses_a_system_turn_is_told_where_an_eval_has_one(base: Path) -> None:
    template = (base / "chat_template.jinja").read_text()
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    (base / "chat_template.jinja").write_text(refusing + template)
    told = findings(
        "jobs/quickstart.yaml", f"base.source={base}", "evals.agentic.scenarios=specs/philosophy/scenarios.yaml",
        "evals.agentic.judge=model", "evals.agentic.judge_model=mockllm/model",
    )  # fmt: skip
    assert any(f.key == "evals.agentic.scenarios" and "no system turn" in f.what for f in told)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no safetensors weights"),
        (lambda folder: with_code(folder / "config.json"), "brings Python code of its own"),
    ],
)
def test_a_folder_that_is_no_model_is_told(base: Path, change, said: str) -> None:  # noqa: ANN001
    change(base)
    assert any(said in f.what for f in of_base(base))


def with_code(config: Path) -> None:
    config.write_text(json.dumps(json.loads(config.read_text()) | {"auto_map": {"AutoModel": "x.Y"}}))
