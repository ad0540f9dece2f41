"""The W&B Report of an experiment, and a view of its workspace: question, answer, bars, curves, corpora, tables, links.

Made with `wandb_workspaces`, whose objects need no server; what is written here is what would be sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msm_ray.graph.artifacts import Artifact
from msm_ray.report import words
from msm_ray.report.numbers import restored
from msm_ray.stats import Difference, Rate
from msm_ray.tracking import leaving
from msm_ray.tracking.names import RunName

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    from msm_ray.config import ExperimentSettings

CHART = "msm-ray-rates"
"""Name of the bar chart with intervals (`BARS`) among the custom charts of a user or team."""
BARS = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"name": "wandb"},
    "encoding": {
        "y": {"field": "${field:arm}", "type": "nominal", "sort": None, "title": None},
        "tooltip": [
            {"field": f"${{field:{name}}}", "type": "quantitative", "format": ".2f"} for name in ("rate", "low", "high")
        ],
    },
    "layer": [
        {
            "mark": {"type": "bar", "opacity": 0.6},
            "encoding": {"x": {"field": "${field:rate}", "type": "quantitative", "scale": {"domain": [0, 1]}}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {
                "x": {"field": "${field:low}", "type": "quantitative", "title": "rate, 95% interval"},
                "x2": {"field": "${field:high}"},
            },
        },
    ],
}
"""Vega-Lite: a bar for each arm, with its interval."""
PAPER = "https://arxiv.org/abs/2605.02087"
CURVES = {"loss": "loss, nats per trained token", "gradient_norm": "gradient norm", "tokens_per_second": "tokens/s"}


@dataclass(frozen=True)
class Told:
    """What a Report is made of. content: of `report.json`; corpora: their artifacts; run: the experiment's; pictures: keys of
    the figures that it holds."""

    settings: ExperimentSettings
    content: Mapping[str, Any]
    corpora: Sequence[Artifact]
    run: RunName
    pictures: Sequence[str] = ()


@dataclass(frozen=True)
class Home:
    """Where it goes; all empty while that is not known. chart: whether `CHART` is there; url: of the experiment's run."""

    entity: str = ""
    project: str = ""
    url: str = ""
    chart: bool = True


def report(told: Told, home: Home = Home()) -> wr.Report:
    """The Report, not saved yet."""
    import wandb_workspaces.reports.v2 as wr

    texts = told.settings.tracking.texts
    return wr.Report(
        entity=home.entity,
        project=home.project or told.settings.tracking.project,
        title=told.settings.experiment[:128],
        description=told.settings.report.question if texts else "",
        blocks=list(_blocks(told, home)),
    )


def _blocks(told: Told, home: Home) -> Iterator[Any]:
    import wandb_workspaces.reports.v2 as wr

    texts = told.settings.tracking.texts
    if texts and told.settings.report.question:
        yield wr.BlockQuote(text=told.settings.report.question)
    yield wr.H2(text="Answer")
    answer = told.content["answer"]
    yield wr.CalloutBlock(text=answer["headline"])
    if answer["findings"]:
        yield wr.UnorderedList(items=answer["findings"])
    if answer["limits"]:
        yield wr.H3(text="What this does not show")
        yield wr.UnorderedList(items=answer["limits"])
    yield from _rates(told, home)
    if texts and told.pictures:
        figures = wr.MediaBrowser(media_keys=list(told.pictures), num_columns=1, layout=wr.Layout(w=24, h=16))
        yield wr.H2(text="Figures")
        yield wr.PanelGrid(runsets=[_experiment(told, home)], panels=[figures])
    if told.content["differences"]:
        yield wr.H2(text="Differences")
        yield wr.MarkdownBlock(text=_differences_table(told.content["differences"]))
    yield wr.H2(text="Trainings")
    yield wr.PanelGrid(runsets=[_trainings(told, home)], panels=_curves())
    yield wr.H2(text="Corpora")
    yield wr.MarkdownBlock(text=_corpora_table(told.corpora))
    if texts:
        for corpus in told.corpora:
            yield wr.MarkdownBlock(text=_card(corpus))
        yield wr.PanelGrid(
            runsets=[_experiment(told, home)], panels=_tables(f"documents/{corpus.name}" for corpus in told.corpora)
        )
        yield wr.H2(text="Transcripts")
        yield wr.PanelGrid(runsets=[_experiment(told, home)], panels=_tables(["transcripts"]))
    yield wr.H2(text="Where it comes from")
    yield wr.PanelGrid(runsets=[_experiment(told, home)], panels=_tables(["lineage"]))
    links = [wr.Link(text="The method", url=PAPER)]
    if home.url:
        links.insert(0, wr.Link(text="The experiment's run", url=home.url))
    yield wr.UnorderedList(items=[[link] for link in links])


def _rates(told: Told, home: Home) -> Iterator[Any]:
    """By group of arms: a chart and a table for each of its evals."""
    import wandb_workspaces.reports.v2 as wr

    overall = [row for row in told.content["rates"] if row["condition"] is None]
    for group in dict.fromkeys(row["arm"].partition("/")[0] for row in overall):
        yield wr.H2(text=f"Rates: {group}")
        own = [row for row in overall if row["arm"].partition("/")[0] == group]
        evals = list(dict.fromkeys(row["eval"] for row in own))
        yield wr.PanelGrid(
            runsets=[_experiment(told, home)],
            panels=[_bars(name, [r for r in own if r["eval"] == name], home) for name in evals],
        )
        yield wr.MarkdownBlock(text=_rates_table(own))


def _bars(name: str, rows: Sequence[Mapping[str, Any]], home: Home) -> Any:
    import wandb_workspaces.reports.v2 as wr

    if not home.chart:
        keys = [f"rate/{name}/{row['arm']}" for row in rows]
        return wr.BarPlot(title=name, metrics=[wr.SummaryMetric(key) for key in keys], range_x=(0, 1))
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"rates/{name}"}},
        chart_name=f"{home.entity}/{CHART}" if home.entity else CHART,
        chart_fields={field: field for field in ("arm", "rate", "low", "high")},
        chart_strings={"title": name},
    )


def _curves() -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.LinePlot(title=title, x="step", y=[key], title_x="step") for key, title in CURVES.items()]


def _tables(names: Iterable[str]) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [wr.WeavePanelSummaryTable(table_name=name, layout=wr.Layout(w=24, h=12)) for name in names]


def _experiment(told: Told, home: Home) -> Any:
    return _runset(told, home, "experiment")


def _trainings(told: Told, home: Home) -> Any:
    return _runset(told, home, "training")


def _runset(told: Told, home: Home, job_type: str) -> Any:
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as wr

    own = [expr.Config("experiment_run") == told.run.id, expr.Metric("JobType") == job_type]
    return wr.Runset(entity=home.entity, project=home.project, name=job_type, filters=own)


def view(told: Told, home: Home = Home()) -> ws.Workspace:
    """A view of the project's workspace with this experiment's runs alone, not saved yet."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as ws

    overall = [row for row in told.content["rates"] if row["condition"] is None]
    evals = dict.fromkeys(row["eval"] for row in overall)
    bars = [_bars(name, [row for row in overall if row["eval"] == name], home) for name in evals]
    return ws.Workspace(
        entity=home.entity,
        project=home.project or told.settings.tracking.project,
        name=told.settings.experiment,
        sections=[
            ws.Section(name="Rates", panels=bars, is_open=True),
            ws.Section(name="Trainings", panels=_curves(), is_open=True),
        ],
        runset_settings=ws.RunsetSettings(filters=[expr.Config("experiment_run") == told.run.id]),
    )


def as_json(told: Told, home: Home = Home()) -> dict[str, Any]:
    """{report, view, chart} as `wandb_workspaces` would send them."""
    made, seen = report(told, home)._to_model(), view(told, home)._to_model()
    return {
        "report": json.loads(made.model_dump_json(by_alias=True, exclude_none=True)),
        "view": json.loads(seen.model_dump_json(by_alias=True, exclude_none=True)),
        "chart": BARS,
    }


def _rates_table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (r.eval, r.arm, words.shown_rate(r), f"{r.completed}/{r.asked}", str(r.seeds))
        for r in (restored(Rate, row) for row in rows)
    ]
    return _markdown(("eval", "arm", "rate, 95% interval", "completed", "seeds"), cells)


def _differences_table(rows: Sequence[Mapping[str, Any]]) -> str:
    told = [restored(Difference, row) for row in rows]
    cells = [
        (
            d.eval,
            d.a,
            d.b,
            d.condition or "all",
            words.shown_difference(d),
            words.p_value(d.p),
            words.p_value(d.p_holm),
            d.word or "",
        )
        for d in told
    ]
    return _markdown(("eval", "a", "b", "condition", "a - b, 95% interval", "p", "Holm", ""), cells)


def _corpora_table(corpora: Sequence[Artifact]) -> str:
    cells = []
    for corpus in corpora:
        counted = leaving.counts(corpus)
        numbers = [f"{counted[key]:,}" if key in counted else "" for key in ("rows", "tokens", "rejected")]
        cells.append((corpus.name, *numbers, corpus.digest[:12]))
    return _markdown(("corpus", "documents", "tokens", "rejected", "digest"), cells)


def _card(corpus: Artifact) -> str:
    """The corpus' own card, without what only its folder's readers need."""
    path = corpus.folder / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {corpus.name}"
    return re.sub(r"\A---\n.*?^---\n|^## Load it$.*?(?=^## |\Z)", "", text, flags=re.DOTALL | re.MULTILINE).strip()


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
