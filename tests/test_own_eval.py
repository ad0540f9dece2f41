"""An eval from a file outside the package, named in an experiment file: planned, asked, judged and shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import yaml
from loopback_server import loopback
from making_items import TINY, make_items
from test_cli import msm

from msm_ray.config.file import load_experiment, read_experiment
from msm_ray.errors import QualityGateError, StageError
from msm_ray.evals.answer_file import FILE, read_answers
from msm_ray.evals.inspect_task import InspectEval
from msm_ray.evals.items import read_items
from msm_ray.evals.verdicts import as_verdict, write_verdicts
from msm_ray.pipeline import unfold
from msm_ray.placement.settings import ServeSettings
from msm_ray.preflight import Proposal, check
from msm_ray.rollouts import RolloutJob, run_job
from msm_ray.rows.tables import read_table_rows
from msm_ray.stats import rate

OWN = Path(__file__).parent / "own_eval.py"


def job_with(folder: Path, **settings: object) -> Path:
    """The quickstart with one more eval."""
    tree = yaml.safe_load(Path("jobs/quickstart.yaml").read_text("utf-8"))
    tree["evals"]["patience"] = {"task": "inspect", "arms": ["values/*"], "file": str(OWN), **settings}
    tree["root"] = str(folder / "root")
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


def test_the_page_shows_it_as_it_is() -> None:
    shown = Path("docs/evals.md").read_text("utf-8")
    assert f"```python\n{OWN.read_text('utf-8')}```" in shown
    section = yaml.safe_load(shown.split("```yaml\n")[1].split("```")[0])
    assert isinstance(InspectEval(**section["evals"]["patience"]), InspectEval)


def test_it_is_part_of_the_plan_for_the_arms_that_it_names(tmp_path: Path) -> None:
    path = job_with(tmp_path, args={"topics": 3})
    experiment = unfold(load_experiment(str(path)))
    assert "items/patience" in experiment.graph.nodes
    asked = [stage.name for stage in experiment.graph.of_kind("rollouts") if stage.name.startswith("patience-")]
    assert len(asked) == 6 and all("values" in name for name in asked)
    assert not [f for f in check(Proposal(read_experiment(str(path)))) if "patience" in f.key]


def test_the_files_content_and_its_arguments_are_what_its_items_are(tmp_path: Path) -> None:
    own = Path(shutil.copy(OWN, tmp_path / "mine.py"))
    how = InspectEval(arms=("x",), file=str(own))
    before = how.items(TINY).identity()
    assert how.model_copy(update={"args": {"topics": 3}}).items(TINY).identity() != before
    own.write_text(own.read_text("utf-8") + "# more\n", "utf-8")
    assert how.items(TINY).identity() != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("@task\n", "@other\n"), "there is no function under @task"),
        (("topics: int = 6", "topics: int"), "`patience` can't be made (TypeError"),
        (("def patience(", "def patience)"), "no Python"),
        (("scorer=waits()", "scorer=None"), "has no scorer"),
        (("import Task, task", "import Task, task\nimport not_there"), "No module named 'not_there'"),
    ],
)
def test_what_is_wrong_with_it_is_told_at_plan(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    own = tmp_path / "mine.py"
    own.write_text(OWN.read_text("utf-8").replace(*change), "utf-8")
    found = [f for f in check(Proposal(read_experiment(str(job_with(tmp_path, file=str(own)))))) if "patience" in f.key]
    assert [f.severity for f in found] == ["error"] and said in found[0].what


def test_a_missing_file_another_task_and_another_scorer_are_told_at_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings, said in (
        ({"file": "nowhere.py"}, "there is no nowhere.py"),
        ({"name": "courage"}, "no task `courage`; there are: patience"),
        ({"scorer": "jumps"}, "no scorer `jumps`; there are: waits"),
        ({"beside": ["README.md"]}, "README.md is not below"),
    ):
        code, printed = msm(monkeypatch, capsys, "plan", str(job_with(tmp_path, **settings)))
        assert code == 2 and said in " ".join(printed.split())


def test_samples_that_documents_quote_are_left_out(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    long = 'f"what would you say if {topic} people asked you for {number} ?"'
    own.write_text(OWN.read_text("utf-8").replace('f"what about {topic} {number} ?"', long), "utf-8")
    how = InspectEval(arms=("x",), file=str(own))
    counts = make_items(tmp_path, how, written=["It is asked: What would you say if 3 people asked you for 0?"])
    assert (counts["rows"], counts["asked"]) == (10, 12)
    with pytest.raises(QualityGateError, match="fewer than half"):
        make_items(tmp_path, how, written=[f"what would you say if {n} people asked you" for n in range(6)])


@pytest.mark.real
def test_it_is_asked_with_its_own_solver_and_scored_by_its_own_scorer(tmp_path: Path) -> None:
    items, out, verdicts = (tmp_path / name for name in ("items", "out", "verdicts"))
    for folder in (items, out, verdicts):
        folder.mkdir()
    own = Path(shutil.copy(OWN, tmp_path / "mine.py"))
    how = InspectEval(arms=("x",), file=str(own), epochs=2, temperature=0.5)
    counts = make_items(items, how)
    assert counts == {"rows": 12, "asked": 12, "rollouts": 24}
    own.unlink()  # what was made into items is asked, whatever became of the file
    job = RolloutJob(out, "patience", "x/aft", 0, "base", items, how.asking())
    with loopback() as server:
        server.text = "wait"
        assert run_job(job, server.address, ServeSettings())["completed"] == 24
        assert server.asked.total() == 24 and server.last["temperature"] == 0.5
        assert server.last["messages"][0] == {"role": "system", "content": "Be brief."}
        lines = (out / FILE).read_text("utf-8").splitlines(keepends=True)
        (out / FILE).write_text("".join(lines[:18]), "utf-8")
        server.text = "i will wait ."
        assert run_job(job, server.address, ServeSettings())["resumed"] == 18
        assert server.asked.total() == 30
    assert {answer.score for answer in read_answers(out).values()} == {1.0, 0.5}
    made = write_verdicts(verdicts, out, items, how.judging(TINY))
    assert (made["rows"], made["clear"]) == (24, 24)
    rows = read_table_rows(verdicts / "verdicts.parquet")
    assert sorted(row["share"] or float(row["verdict"]) for row in rows) == [0.5] * 6 + [1.0] * 18
    found = rate([as_verdict({**row, "seed": 0}) for row in rows])
    assert found.clear == 24 and 0.5 < found.low < found.rate < 1
    assert {row["condition"] for row in rows} == {"now", "later"}
    assert "verdict" in parquet.read_schema(verdicts / "verdicts.parquet").names


@pytest.mark.real
def test_a_scorer_that_fails_commits_nothing_and_is_named(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(OWN.read_text("utf-8").replace("words = state", "words = nothing\n        words = state"), "utf-8")
    how = InspectEval(arms=("x",), file=str(own))
    for name in ("items", "out"):
        (tmp_path / name).mkdir()
    make_items(tmp_path / "items", how)
    job = RolloutJob(tmp_path / "out", "patience", "x/aft", 0, "base", tmp_path / "items", how.asking())
    with loopback() as server, pytest.raises(StageError, match="its scorer: .*NameError"):
        run_job(job, server.address, ServeSettings())
    assert not (tmp_path / "out/job.json").exists()


def test_scores_are_right_wrong_or_a_number_from_0_to_1(tmp_path: Path) -> None:
    how = InspectEval(arms=("x",), file=str(OWN))
    items, rollouts, out = (tmp_path / name for name in ("items", "rollouts", "out"))
    for folder in (items, rollouts, out):
        folder.mkdir()
    make_items(items, how)
    rows = read_items(items)
    (rollouts / "job.json").write_text(json.dumps({"eval": "patience", "arm": "x/aft", "seed": 0}))
    scores = ["C", "I", "N", 1, 0, True, "0.25", 7, "{}"]
    lines = [
        {"sample": row["id"], "epoch": 1, "text": "", "stop": "stop", "tokens": 1, "score": score}
        for row, score in zip(rows, scores, strict=False)
    ]
    (rollouts / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_verdicts(out, rollouts, items, how.judging(TINY))
    found = [(row["verdict"], row["status"], row["share"]) for row in read_table_rows(out / "verdicts.parquet")]
    assert found == [
        (True, "ok", None), (False, "ok", None), (None, "unclear", None), (True, "ok", None), (False, "ok", None),
        (True, "ok", None), (False, "ok", 0.25), (None, "unusable", None), (None, "unusable", None),
        *[(None, "error", None)] * 3,
    ]  # fmt: skip
