"""The report stage: numbers, figures and one self-contained page, in the artifact's folder."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.dataset as datasets

from msm_ray.artifacts import Artifact, write_whole
from msm_ray.config import AnswersEval
from msm_ray.experiment import Experiment
from msm_ray.report import figures, words
from msm_ray.report.results import Results, as_json, collect, notes

SHOWN_DOCUMENTS, SHOWN_ROLLOUTS = 10, 4


def write_report(out: Path, experiment: Experiment, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Stage function: `report.json`, `report.html` and `figures/` in `out`; returns counts."""
    results = collect(experiment, artifacts)
    content = as_json(experiment, results, artifacts)
    write_whole(out / "report.json", json.dumps(content, indent=1))
    pictures = _figures(out / "figures", experiment, results)
    losses = training_losses(artifacts)
    page = _page(experiment, artifacts, results, pictures, losses)
    write_whole(out / "report.html", page)
    return {"rows": len(results.rates), "rates": len(results.rates), "differences": len(results.differences)}


def _figures(folder: Path, experiment: Experiment, results: Results) -> list[tuple[str, str, str]]:
    """(title, data URI, source of the paper's numbers) of each chart; the SVG files beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, figure in enumerate(experiment.settings.report.figures, start=1):
        svg = figures.bars(figure, results.rates)
        (folder / f"figure-{number}.svg").write_bytes(svg)
        made.append((figure.title, data_uri(svg), figure.paper_source))
    return made


def data_uri(svg: bytes) -> str:
    """A picture that a page can hold without another file."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def training_losses(artifacts: Mapping[str, Artifact]) -> dict[str, list[tuple[int, float]]]:
    """Stage name -> (step, loss), from the metrics that each training left."""
    losses = {}
    for key, artifact in artifacts.items():
        file = artifact.folder / "metrics.jsonl"
        if artifact.stage in ("midtrain", "sft") and file.exists():
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            losses[key] = [(row["step"], row["loss"]) for row in rows]
    return losses


def _page(
    experiment: Experiment,
    artifacts: Mapping[str, Artifact],
    results: Results,
    pictures: Sequence[tuple[str, str, str]],
    losses: Mapping[str, list[tuple[int, float]]],
) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["shown"] = words.shown_rate
    environment.filters["no_choice"] = words.no_choice
    environment.filters["shortened"] = words.shortened
    environment.filters["signed"] = words.shown_difference
    environment.filters["p_value"] = words.p_value
    template = environment.from_string(resources.files("msm_ray.report").joinpath("page.html.jinja").read_text("utf-8"))
    return template.render(
        settings=experiment.settings,
        notes=notes(results),
        target=words.target(results.rates),
        sentences=[words.sentence(d) for d in results.differences if d.condition is None],
        pictures=pictures,
        curves=data_uri(figures.curves(losses)) if losses else None,
        evals=_eval_tables(experiment, results),
        differences=results.differences,
        tested=any(d.p is not None for d in results.differences),
        answers=_answers(experiment, results),
        trainings=[a for a in artifacts.values() if a.stage in ("midtrain", "sft")],
        corpora=_corpora(artifacts),
        rollouts=_sample_rollouts(experiment, results),
        left_out=_left_out(artifacts),
        incomplete=[r for r in results.rates if r.condition is None and r.clear < r.asked],
        artifacts=list(artifacts.values()),
    )


def _left_out(artifacts: Mapping[str, Artifact]) -> list[tuple[str, int, int]]:
    """(eval, pairs or scenarios that were left out since written documents name them, all of them)."""
    items = [a for a in artifacts.values() if a.stage == "items"]
    return [
        (a.name, a.counts["asked"] - a.counts["rows"], a.counts["asked"])
        for a in items
        if a.counts["asked"] > a.counts["rows"]
    ]


def _eval_tables(experiment: Experiment, results: Results) -> list[dict[str, Any]]:
    """Per eval: its conditions and, per arm, the overall rate and that of each condition."""
    tables = []
    for name in dict.fromkeys(r.eval for r in results.rates):
        rates = [r for r in results.rates if r.eval == name]
        conditions = sorted({r.condition for r in rates if r.condition is not None})
        arms = [
            {
                "overall": r,
                "by_condition": {x.condition: x for x in rates if x.arm == r.arm and x.condition is not None},
            }
            for r in rates
            if r.condition is None
        ]
        tables.append({"name": name, "conditions": conditions, "arms": arms})
    return tables


def _answers(experiment: Experiment, results: Results) -> list[dict[str, Any]]:
    """Per open-question eval: the questions, and what each arm answered (first seed)."""
    shown: list[Any] = []
    for name, how in experiment.settings.evals.items():
        if isinstance(how, AnswersEval):
            rows = [r for r in results.rows[name] if r["seed"] == 0]
            arms = list(dict.fromkeys(r["arm"] for r in rows))
            questions = dict.fromkeys(r["condition"] for r in rows)
            table = {q: {r["arm"]: r["answer"] for r in rows if r["condition"] == q} for q in questions}
            shown.append({"name": name, "arms": arms, "table": table})
    return shown


def _corpora(artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """Per corpus: counts, what was dropped and why, and ten documents drawn by a fixed seed."""
    corpora = []
    for artifact in (a for a in artifacts.values() if a.stage == "corpus"):
        rows = datasets.dataset(artifact.folder / "data").to_table(columns=["id", "text", "type"]).to_pylist()
        rows.sort(key=lambda r: r["id"])
        sample = random.Random(0).sample(rows, min(SHOWN_DOCUMENTS, len(rows)))
        corpora.append({"name": artifact.name, "counts": artifact.counts, "documents": sample})
    return corpora


def _sample_rollouts(experiment: Experiment, results: Results) -> list[Mapping[str, Any]]:
    """A few rollouts per eval and arm, drawn by a fixed seed, not picked."""
    shown: list[Any] = []
    for name, rows in results.rows.items():
        if isinstance(experiment.settings.evals[name], AnswersEval):
            continue
        for arm in dict.fromkeys(r["arm"] for r in rows):
            own = [r for r in rows if r["arm"] == arm]
            shown += random.Random(f"{name} {arm}").sample(own, min(SHOWN_ROLLOUTS, len(own)))
    return shown
