"""Given checkpoints for real: `msm run` asks an adapter by its own template, a full model and the base, and trains nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_checkpoints import TEMPLATE, tiny_adapter, tiny_checkpoint

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ITS_OWN = TEMPLATE.replace("<bos>", "<bos> system w9 <end>", 1)
"""A system turn of its own, as released templates have."""
QUESTIONS = ["w10 w20 w30", "w7 w7 w7 w8", "w500"]
TOKENS = 12


def expected(folder: Path, question: str, base: Path | None = None, template: str = TEMPLATE) -> str:
    """Greedy words by transformers (and PEFT, where `folder` is an adapter of `base`), up to the end of a turn."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base or folder)
    model = AutoModelForCausalLM.from_pretrained(base or folder)
    if base:
        model = PeftModel.from_pretrained(model, folder)
    turns = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(turns, chat_template=template, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
    begun = ids.shape[1]
    with torch.inference_mode():
        for _ in range(TOKENS):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    said = tokenizer.decode(ids[0, begun:]).split()
    return " ".join(said[: said.index("<end>")] if "<end>" in said else said).replace("<bos>", "").replace("<unk>", "")


@pytest.mark.parametrize("given", [("adapter",), pytest.param(("adapter", "full"), marks=pytest.mark.soak)])
def test_given_checkpoints_are_asked_beside_the_base_and_nothing_is_trained(
    given: tuple[str, ...], ray_cluster: None, tmp_path: Path
) -> None:
    """Both kinds take a server each, one after the other (tests/test_serve.py has both as well, without a run around them)."""
    base, full = tiny_checkpoint(tmp_path / "base", 0), tiny_checkpoint(tmp_path / "full", 1)
    adapter = tiny_adapter(tmp_path / "adapter", base, 2)
    for file in adapter.glob("tokenizer*"):
        file.unlink()
    (adapter / "chat_template.jinja").write_text(ITS_OWN)
    (tmp_path / "questions.txt").write_text("\n".join(QUESTIONS))
    arms = {"adapter": {"checkpoint": str(adapter), "chat_template": "own"}, "full": {"checkpoint": str(full)}}
    job = {
        "experiment": "given", "root": str(tmp_path / "root"), "seeds": 1, "base": {"source": str(base)},
        "assistant": {"name": "Llama", "provider": "Meta"},
        "arms": {"x/base": {}, **{f"x/{kind}": arms[kind] for kind in given}},
        "evals": {"open": {
            "task": "answers", "questions": str(tmp_path / "questions.txt"), "arms": ["x/*"], "max_tokens": TOKENS,
        }},
        "cluster": {
            "cpus": 8, "least_memory_gib": 0, "least_disk_gib": 0,
            "serving": {"workers": 1, "cpus": 2, "max_model_len": 512, "max_num_seqs": 32, "connections": 16},
        },
    }  # fmt: skip
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    words = [sys.executable, "-m", "msm_ray.cli", "run", str(tmp_path / "job.yaml")]  # on the tests' Ray: RAY_ADDRESS
    ended = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]
    root = tmp_path / "root"
    assert sorted(path.parent.name for path in root.glob("checkpoint/*/COMMITTED")) == [f"x.{kind}@1" for kind in given]
    assert not list(root.glob("sft/*")) and not list(root.glob("midtrain/*"))
    truth = {"base": (base, None, TEMPLATE), "full": (full, None, TEMPLATE), "adapter": (adapter, base, ITS_OWN)}
    for arm in ("base", *given):
        folder, onto, template = truth[arm]
        lines = (root / "rollouts" / f"open-x.{arm}-s0@1" / "answers.jsonl").read_text().splitlines()
        answers = sorted(" ".join(json.loads(line)["text"].split()) for line in lines)
        assert answers == sorted(expected(folder, question, onto, template) for question in QUESTIONS), arm
    report = json.loads(next(root.glob("report/*/report.json")).read_text())
    assert report["arms"]["x/adapter"]["is"] == "trained elsewhere and given as adapter"
