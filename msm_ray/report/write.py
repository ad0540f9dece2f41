"""The report stage: numbers, tables, figures and one self-contained page, in the artifact's folder."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from msm_ray import training_metrics
from msm_ray.graph.artifacts import Artifact
from msm_ray.report import figures, lineage, samples, words
from msm_ray.report.answer import answer
from msm_ray.report.figures import Picture
from msm_ray.report.results import Results, as_json, collect
from msm_ray.report.subject import Subject
from msm_ray.stats import Rate
from msm_ray.whole_files import write_whole

TABLES = ("rates", "differences")
"""Lists of `report.json` that are written as CSV too."""


def write_report(out: Path, subject: Subject) -> dict[str, Any]:
    """Stage function: `report.json`, `report.html`, `rates.csv`, `differences.csv` and `figures/` in `out`; returns counts."""
    results = collect(subject)
    content = as_json(subject, results)
    content = {"answer": answer(content).as_json(), **content}
    write_whole(out / "report.json", json.dumps(content, indent=1))
    for name in TABLES:
        write_whole(out / f"{name}.csv", as_csv(content[name]))
    losses = training_losses(subject.artifacts)
    pictures = _figures(out / "figures", subject, content, results)
    curves = figures.curves(losses) if losses else None
    if curves:
        _keep(out / "figures", "losses", curves)
    write_whole(out / "report.html", _page(subject, results, content, pictures, curves))
    return {"rows": len(results.rates), "rates": len(results.rates), "differences": len(results.differences)}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under their keys; no value is an empty cell, several are divided by `;`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: ";".join(value) if isinstance(value, list | tuple) else value for key, value in row.items()}
        )
    return text.getvalue()


def _figures(
    folder: Path, subject: Subject, content: Mapping[str, Any], results: Results
) -> list[tuple[str, Markup, str]]:
    """(title, SVG, source of the paper's numbers) of each chart; SVG and PNG files beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, figure in enumerate(subject.report.figures, start=1):
        picture = figures.bars(figure, results.rates, content["evals"][figure.eval]["chance"])
        _keep(folder, f"figure-{number}", picture)
        made.append((figure.title, Markup(inlined(picture.svg, f"f{number}")), figure.paper_source))
    return made


def inlined(svg: str, name: str) -> str:
    """An SVG as a part of a page, which names no address: its ids are its own, and its style sheet, which would reach all of
    the page, stands in ours."""
    svg = re.sub(r"<(style|metadata)[^>]*>.*?</\1>", "", svg, flags=re.DOTALL)
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)


def _keep(folder: Path, name: str, picture: Picture) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(picture.svg, encoding="utf-8")
    (folder / f"{name}.png").write_bytes(picture.png)


def training_losses(artifacts: Mapping[str, Artifact]) -> dict[str, list[tuple[int, float]]]:
    """Stage name -> (step, loss), from the metrics that each training left."""
    losses = {}
    for key, artifact in artifacts.items():
        if artifact.stage in ("midtrain", "sft") and (rows := training_metrics.read(artifact.folder)):
            losses[key] = [(row["step"], row["loss"]) for row in rows]
    return losses


def _page(
    subject: Subject,
    results: Results,
    content: Mapping[str, Any],
    pictures: Sequence[tuple[str, Markup, str]],
    curves: Picture | None,
) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["shown"] = words.shown_rate
    environment.filters["no_choice"] = words.no_choice
    environment.filters["signed"] = words.shown_difference
    environment.filters["p_value"] = words.p_value
    artifacts = subject.artifacts
    places = {key: f"from-{n}" for n, key in enumerate(dict.fromkeys((line.eval, line.arm) for line in subject.lines))}
    room = resources.files("msm_ray.report")
    template = environment.from_string(room.joinpath("page.html.jinja").read_text("utf-8"))
    return template.render(
        style=Markup(room.joinpath("page.css").read_text("utf-8")),
        subject=subject,
        answer=content["answer"],
        target=words.target(results.rates),
        sentences=[words.sentence(d) for d in results.differences if d.condition is None],
        pictures=pictures,
        curves=Markup(inlined(curves.svg, "losses")) if curves else None,
        evals=_eval_tables(content, results),
        differences=results.differences,
        tested=any(d.p is not None for d in results.differences),
        answers=samples.answers(subject, results),
        trainings=[a for a in artifacts.values() if a.stage in ("midtrain", "sft")],
        masks=samples.masks(artifacts),
        corpora=samples.corpora(artifacts),
        transcripts=samples.transcripts(subject, results),
        lineage=subject.lines,
        places=places,
        linked=lineage.LINKED,
        artifacts=list(artifacts.values()),
    )


def _eval_tables(content: Mapping[str, Any], results: Results) -> list[dict[str, Any]]:
    """Per eval: what it counts, its conditions and, per arm, the overall rate and that of each condition."""
    tables = []
    for name in dict.fromkeys(r.eval for r in results.rates):
        rates = [r for r in results.rates if r.eval == name]
        overall = [r for r in rates if r.condition is None]
        tables.append(
            {
                "name": name,
                "counts": content["evals"][name]["counts"],
                "conditions": sorted({r.condition for r in rates if r.condition is not None}),
                "unclear": any(words.no_choice(r) for r in overall),
                "lacking": any(r.completed < r.asked for r in overall),
                "arms": [
                    {"overall": r, "is": content["arms"][r.arm]["is"], "by_condition": _conditions(r.arm, rates)}
                    for r in overall
                ],
            }
        )
    return tables


def _conditions(arm: str, rates: Sequence[Rate]) -> dict[str, Rate]:
    return {r.condition: r for r in rates if r.arm == arm and r.condition is not None}
