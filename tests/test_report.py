"""The report's page and numbers from made-up verdicts; nothing is trained or served."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from msm_ray.config.file import load_experiment
from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import Artifact
from msm_ray.graph.node import Node
from msm_ray.pipeline import unfold
from msm_ray.report import compare, tables
from msm_ray.report.write import write_report
from msm_ray.stages.verdicts import Verdicts
from msm_ray.tracking import Tracker
from msm_ray.tracking.experiment_run import tell_rates

Say = Callable[[str, int], bool | None]


def artifact(folder: Path, stage: Node) -> Artifact:
    folder = folder / stage.kind / stage.name
    folder.mkdir(parents=True)
    counts = {"rows": 1, "steps": 80, "tokens": 1234, "final_loss": 0.4321}
    facts = {"fingerprint": "f", "counts": counts, "digest": "d", "commit": "c", "finished": "now", "versions": {}}
    return Artifact(stage.kind, stage.name, 1, folder, facts)


def write_verdicts(folder: Path, stage: Verdicts, verdict: Say, judge: Callable[[str], str]) -> None:
    eval_name, arm = stage.items.name, stage.rollouts.arm
    rows = [
        {
            "arm": arm, "eval": eval_name, "condition": f"kind {n % 2}", "cluster": f"domain {n % 10}", "sample": str(n),
            "epoch": 1, "answer": f"answer {n}", "verdict": verdict(arm, n), "reason": "it said <no>", "order": "",
            "status": "error" if verdict(arm, n) is None else "ok", "question": f"question {n}", "unit": str(n),
            "judge": judge(arm),
        }
        for n in range(20)
    ]  # fmt: skip
    schema = pa.Table.from_pylist([{**rows[0], "verdict": True}]).schema
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "verdicts.parquet")


def report(
    tmp_path: Path,
    verdict: Say,
    *overrides: str,
    judge: Callable[[str], str] = lambda _: "rules",
) -> tuple[str, dict]:
    """The page and the numbers of the quickstart's evals, with four seeds unless overrides say another number."""
    experiment = unfold(load_experiment("jobs/quickstart.yaml", [f"root={tmp_path}", "seeds=4", *overrides]))
    artifacts = {}
    for stage in experiment.graph.nodes.values():
        if stage.kind in ("midtrain", "sft", "corpus", "verdicts"):
            made = artifacts[stage.key] = artifact(tmp_path, stage)
            if stage.kind == "verdicts":
                write_verdicts(made.folder, stage, verdict, judge)
            if stage.kind == "corpus":
                (made.folder / "data").mkdir()
                pq.write_table(
                    pa.table({"id": ["1"], "text": ["<b>a document</b>"], "type": ["letter"]}),
                    made.folder / "data/part.parquet",
                )
    out = tmp_path / "out"
    out.mkdir()
    (report,) = experiment.graph.of_kind("report")
    write_report(out, report.subject(artifacts))
    return (out / "report.html").read_text(encoding="utf-8"), json.loads((out / "report.json").read_text("utf-8"))


def test_the_page_tells_clear_differences_losses_and_texts_as_text(tmp_path: Path) -> None:
    page, numbers = report(tmp_path, lambda arm, n: (n % 10 == 0) != (arm == "values/msm-aff+aft"))
    assert "affordability: values/msm-aff+aft is above values/aft by +0.80" in page
    assert "no difference is shown between values/msm-am+aft and values/aft" in page
    assert "0.432" in page
    assert "&lt;b&gt;a document" in page
    assert "question 1" in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    rates = {(r["eval"], r["arm"]): r for r in numbers["rates"] if r["condition"] is None}
    assert rates["affordability", "values/msm-aff+aft"]["rate"] == pytest.approx(0.9)
    assert (rates["affordability", "values/aft"]["completed"], rates["affordability", "values/aft"]["seeds"]) == (80, 4)


def test_the_page_says_where_an_arm_has_no_verdict(tmp_path: Path) -> None:
    page, numbers = report(tmp_path, lambda arm, n: None if arm == "values/aft" else n % 2 == 0)
    assert "affordability: values/msm-aff+aft and values/aft cannot be compared" in page
    assert "no verdict" in page
    assert "[nan" not in page and ">nan" not in page
    assert page.count("affordability values/aft 0 of 80") == 1
    assert "Only bounded" in page and 'href="#incomplete"' in page
    assert next(d for d in numbers["differences"] if d["b"] == "values/aft")["difference"] is None


class Kept(Tracker):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict]] = {}
        self.numbers: dict = {}

    def summary(self, values: Mapping) -> None:
        self.numbers |= dict(values)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
        self.tables[name] = [dict(zip(columns, row, strict=True)) for row in rows]


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_claim_nothing_anywhere(
    tmp_path: Path, seeds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page, numbers = report(tmp_path, lambda arm, n: arm == "values/msm-aff+aft", f"seeds={seeds}")
    tell_rates(kept := Kept(), numbers)
    tables.show(tmp_path / "out")
    terminal = capsys.readouterr().out
    for text in (page.partition("<h2>Trainings")[0], terminal):
        assert "these checkpoints" in text and "seeds=4" in text
        assert not re.search(r"\b(above|below)\b", text)
        assert "Holm</th>" not in text and "  p  " not in text
    assert numbers["notes"]
    for rows in (numbers["differences"], kept.tables["differences"]):
        assert {(d["p"], d["p_holm"], d["word"], d["of"]) for d in rows} == {(None, None, None, "these checkpoints")}
    assert "these checkpoints" in kept.numbers["rates are"]
    assert kept.numbers["rate/affordability/values/msm-aff+aft"] == 1.0


def test_four_seeds_give_corrected_ps_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, numbers = report(tmp_path, lambda arm, n: (n % 10 == 0) != (arm == "values/msm-aff+aft"))
    tables.show(tmp_path / "out")
    terminal = capsys.readouterr().out
    assert "Holm" in terminal and "above" in terminal and "not shown" in terminal
    assert all(d["p_holm"] >= d["p"] for d in numbers["differences"] if d["condition"] is None)
    assert all(d["p"] is None for d in numbers["differences"] if d["condition"])


def test_names_of_users_are_neither_formulas_nor_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[final] ü"
    folder.mkdir()
    title = "Under $5 or over $50, $$ and \\\\frac{"
    page, _ = report(folder, lambda arm, n: n % 2 == 0, f"report.figures.0.title={json.dumps(title)}")
    assert "Under $5 or over $50" in page
    assert "Under $5 or over $50" in (folder / "out/figures/figure-1.svg").read_text("utf-8")
    tables.show(folder / "out")
    assert "[final] ü" in capsys.readouterr().out


def test_a_report_of_an_earlier_version_is_named_and_not_misread(tmp_path: Path) -> None:
    old = {"rates": [{"arm": "values/aft", "eval": "e", "condition": None, "rate": 0.5}], "differences": []}
    (tmp_path / "report.json").write_text(json.dumps(old), "utf-8")
    with pytest.raises(SettingsError, match="msm run"):
        tables.show(tmp_path)


def test_arms_that_different_judges_judged_do_not_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, numbers = report(
        tmp_path, lambda arm, n: n % 2 == 0, judge=lambda arm: f"judge of {arm.partition('/')[2][:3]}"
    )
    tables.show(tmp_path / "out")
    (note,) = numbers["notes"]
    assert "affordability: judge of aft, judge of bas, judge of msm" in note
    assert "arms do not compare" in page and "arms do not" in capsys.readouterr().out


def test_two_experiments_stand_side_by_side_with_what_differs_in_their_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = []
    for name, rate, better in (("one", 0.001, "values/msm-aff+aft"), ("two [b]", 0.002, "values/aft")):
        report(tmp_path / name, lambda arm, n, better=better: (n % 10 == 0) != (arm == better))  # type: ignore[misc]
        (tmp_path / name / "sft/cheese-s0/artifact.json").write_text(
            json.dumps({"settings": {"learning_rate": rate, "steps": 80, "content_version": 1}})
        )
        made = Artifact("report", "quickstart", 1, tmp_path / name / "report" / "quickstart@1", {})
        made.folder.parent.mkdir()
        (tmp_path / name / "out").rename(made.folder)
        sides.append(compare.side(name, made))
    assert list(compare.differing(*sides)) == [("learning_rate", "0.001", "0.002", ["sft/cheese-s0"])]
    compare.show(*sides)
    printed = capsys.readouterr().out
    assert "b: two [b]" in printed and "learning_rate  0.001  0.002  sft/cheese-s0" in printed
    line = next(line for line in printed.splitlines() if line.startswith("values/aft "))
    assert re.search(r"0\.10 \[.*\]\s+0\.90 \[", line)
    assert "No test compares the two" in printed


def test_a_report_of_an_earlier_version_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"rates": [], "differences": []}))
    with pytest.raises(SettingsError, match="msm run"):
        compare.side("old", Artifact("report", "quickstart", 1, tmp_path, {}))


def test_a_folder_without_a_report_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no report; give the experiment's file"):
        compare.newest_report(tmp_path)


def test_tables_come_as_csv_and_charts_as_svg_and_png(tmp_path: Path) -> None:
    _, numbers = report(tmp_path, lambda arm, n: None if arm == "values/aft" else n % 2 == 0)
    with (tmp_path / "out/rates.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == [row["arm"] for row in numbers["rates"]]
    assert next(row for row in rows if row["arm"] == "values/aft")["rate"] == ""
    pictures = {path.name for path in (tmp_path / "out/figures").iterdir()}
    assert {"figure-1.svg", "figure-1.png", "figure-3.svg", "figure-3.png"} <= pictures
    chart = (tmp_path / "out/figures/figure-1.svg").read_text("utf-8")
    assert ">chance<" in chart and "currentColor" in chart
    assert ">chance<" not in (tmp_path / "out/figures/figure-3.svg").read_text("utf-8")  # harm has no rate of chance


def test_each_rate_names_what_it_comes_from_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    page, numbers = report(tmp_path, lambda arm, n: n % 2 == 0)
    assert str(tmp_path) not in page + json.dumps(numbers)
    line = next(
        x for x in numbers["lineage"] if (x["eval"], x["arm"], x["seed"]) == ("america", "values/msm-am+aft", 2)
    )
    assert line["folders"]["sft"] == "sft/american+cheese-s2" and line["folders"]["midtrain"] == "midtrain/american-s2"
    assert line["folders"]["corpus"] == "corpus/american" and len(line["spec_digest"]) == 64
    plain = next(x for x in numbers["lineage"] if x["arm"] == "values/aft")
    assert (plain["spec"], "corpus" in plain["folders"], "midtrain" in plain["folders"]) == ("", False, False)


def test_one_transcript_of_every_arm_and_condition_is_shown_with_the_judges_reason(tmp_path: Path) -> None:
    page, _ = report(tmp_path, lambda arm, n: n % 2 == 0)
    shown = page.partition("<h2>Transcripts")[2].partition("<h2>Trainings")[0]
    assert shown.count("<details>") == 18
    assert shown.count("<td>kind 0</td>") == shown.count("<td>kind 1</td>") == 18
    assert "it said &lt;no&gt;" in shown
