"""The report's page and numbers from made-up verdicts; nothing is trained or served."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from msm_ray.artifacts import Artifact
from msm_ray.experiment import Experiment, Stage, build
from msm_ray.report.write import write_report
from msm_ray.settings_file import load_experiment

Say = Callable[[str, int], bool | None]


def artifact(folder: Path, stage: Stage) -> Artifact:
    folder = folder / stage.kind / stage.name
    folder.mkdir(parents=True)
    counts = {"rows": 1, "steps": 80, "tokens": 1234, "final_loss": 0.4321}
    facts = {"fingerprint": "f", "counts": counts, "digest": "d", "commit": "c", "finished": "now", "versions": {}}
    return Artifact(stage.kind, stage.name, 1, folder, facts)


def write_verdicts(folder: Path, stage: Stage, experiment: Experiment, verdict: Say) -> None:
    rollouts = experiment.stages[stage.inputs[0]]
    eval_name, arm = stage.inputs[1].partition("/")[2], rollouts.settings["arm"]
    rows = [
        {
            "arm": arm, "eval": eval_name, "condition": f"kind {n % 2}", "cluster": f"domain {n % 5}", "sample": str(n),
            "epoch": 1, "answer": f"answer {n}", "verdict": verdict(arm, n), "status": "", "reason": "", "order": "",
            "question": f"question {n}",
        }
        for n in range(20)
    ]  # fmt: skip
    schema = pa.Table.from_pylist([{**rows[0], "verdict": True}]).schema
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "verdicts.parquet")


def report(tmp_path: Path, verdict: Say) -> tuple[str, dict]:
    """The page and the numbers of the quickstart's values evals."""
    overrides = [f"root={tmp_path}", "seeds=2"]
    experiment = build(load_experiment("jobs/quickstart.yaml", overrides))
    artifacts = {}
    for stage in experiment.stages.values():
        if stage.kind in ("midtrain", "sft", "corpus", "verdicts"):
            made = artifacts[stage.key] = artifact(tmp_path, stage)
            if stage.kind == "verdicts":
                write_verdicts(made.folder, stage, experiment, verdict)
            if stage.kind == "corpus":
                (made.folder / "data").mkdir()
                pq.write_table(
                    pa.table({"id": ["1"], "text": ["<b>a document</b>"], "type": ["letter"]}),
                    made.folder / "data/part.parquet",
                )
    out = tmp_path / "out"
    out.mkdir()
    write_report(out, experiment, artifacts, lambda _: None)
    return (out / "report.html").read_text(encoding="utf-8"), json.loads((out / "report.json").read_text("utf-8"))


def test_the_page_tells_clear_differences_losses_and_texts_as_text(tmp_path: Path) -> None:
    page, numbers = report(tmp_path, lambda arm, n: (n % 10 == 0) != (arm == "values/msm-aff+aft"))
    assert "affordability: values/msm-aff+aft is above values/aft by +0.80" in page
    assert "no difference is shown between values/msm-am+aft and values/aft" in page
    assert "0.432" in page
    assert "&lt;b&gt;a document" in page
    assert "question 1" in page
    rates = {(r["eval"], r["arm"]): r for r in numbers["rates"] if r["condition"] is None}
    assert rates["affordability", "values/msm-aff+aft"]["rate"] == pytest.approx(0.9)
    assert (rates["affordability", "values/aft"]["completed"], rates["affordability", "values/aft"]["seeds"]) == (40, 2)


def test_the_page_says_where_an_arm_has_no_verdict(tmp_path: Path) -> None:
    page, numbers = report(tmp_path, lambda arm, n: None if arm == "values/aft" else n % 2 == 0)
    assert "affordability: values/msm-aff+aft and values/aft cannot be compared" in page
    assert "no verdict" in page
    assert "[nan" not in page and ">nan" not in page
    assert "values/aft: 0 of 40 rollouts have a verdict" in page
    assert next(d for d in numbers["differences"] if d["b"] == "values/aft")["difference"] is None
