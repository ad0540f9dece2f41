"""What is told before anything starts: each finding with file, line, key and remedy, and none without cause."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import msm

from msm_ray import preflight
from msm_ray.config.file import read_experiment
from msm_ray.preflight import Finding


def findings(job: str | Path, *overrides: str) -> list[Finding]:
    """All that is found about a job."""
    return preflight.check(preflight.Proposal(read_experiment(job, overrides)))


def test_the_quickstart_has_no_finding() -> None:
    assert findings("jobs/quickstart.yaml") == []


def test_plan_and_run_tell_the_same_with_file_line_key_and_remedy_and_plan_has_it_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    text = Path("jobs/smollm2.yaml").read_text(encoding="utf-8")
    job.write_text(text.replace("midtraining:\n  mode: lora", "midtraining:\n  mode: lora\n  lora: {r: 1024}"))
    line = job.read_text().splitlines().index("  lora: {r: 1024}") + 1
    for command in ("plan", "run", "generate", "train", "rollout", "judge"):
        code, printed = msm(monkeypatch, capsys, command, str(job), f"root={tmp_path / 'root'}")
        assert code == 2
        assert f"{job}:{line}: midtraining.lora.r" in printed
        assert "set 512 or less" in printed
        assert not list((tmp_path / "root").glob("*/*@*"))
    code, printed = msm(monkeypatch, capsys, "plan", str(job), "--json")
    assert code == 2
    found = [f for f in json.loads(printed)["findings"] if f["key"] == "midtraining.lora.r"]
    assert (found[0]["file"], found[0]["line"], found[0]["severity"]) == (str(job), line, "error")


def test_what_a_machine_lacks_ends_with_three_and_only_where_its_stage_is_to_be_made() -> None:
    lacking = Finding("error", "no key", exit_code=3, stages=("verdicts",))
    wrong = Finding("error", "too large")
    assert preflight.exit_code([lacking]) == 3
    assert preflight.exit_code([lacking, wrong]) == 2
    assert preflight.exit_code([Finding("warning", "x"), Finding("not checked", "y")]) == 0
    preflight.refuse([lacking], {"outline", "documents"})
    with pytest.raises(preflight.Refused, match="no key") as refused:
        preflight.refuse([lacking], {"verdicts"})
    assert refused.value.exit_code == 3


def test_a_plan_imports_no_torch_no_transformers_and_no_ray() -> None:
    """These take seconds each; how long a plan takes: `python -m benchmarks.plan`."""
    code = (
        "import sys; from msm_ray import cli; sys.argv = ['msm', 'plan', 'jobs/quickstart.yaml']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'ray', 'vllm', 'inspect_ai'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_wrong_settings_hide_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Misspelt keys, impossible values and unknown names are told together with what is wrong in files and amounts."""
    wrong = [
        "aft.stpes=3", "seeds=-1", "midtraining.steps=20", "specs.endings=nowhere.md", "arms.values/aft.sft=chese",
        "evals.agentic.max_tokens=300", "cluster.serving.prot=1",
    ]  # fmt: skip
    code, printed = msm(monkeypatch, capsys, "run", "jobs/quickstart.yaml", f"root={tmp_path / 'root'}", *wrong)
    assert code == 2
    for said in ("did you mean 'steps'", "'seeds' = -1", "fewer than least_steps", "nowhere.md does not exist",
                 "unknown chats 'chese'", "cluster.serving.max_model_len is 256", "did you mean 'port'"):  # fmt: skip
        assert said in printed, printed
    assert not (tmp_path / "root").exists()
    wrong = ["arms.values/aft.sft=chese", "arms.values/msm-am.midtrain=americn", "report.figures.0.eval=affordabilty"]
    code, printed = msm(monkeypatch, capsys, "plan", "jobs/quickstart.yaml", *wrong, "midtraining.steps=20")
    assert code == 2
    for said in ("'cheese'", "'american'", "'affordability'", "fewer than least_steps"):
        assert said in printed, printed


def test_what_a_default_asks_for_is_a_warning_and_what_somebody_asks_for_an_error(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    text = Path("jobs/smollm2.yaml").read_text(encoding="utf-8")
    job.write_text(text.replace("    pairs: 60\n", "").replace("  documents: 150\n", "").replace("count: 64, ", ""))
    keys = {"evals.america.pairs", "documents.documents", "chats.ordinary.count"}
    assert {f.key: f.severity for f in findings(job) if f.key in keys} == dict.fromkeys(keys, "warning")
    asked = findings(job, "evals.america.pairs=90", "documents.documents=151", "chats.ordinary.count=65")
    assert {f.key: f.severity for f in asked if f.key in keys} == dict.fromkeys(keys, "error")
