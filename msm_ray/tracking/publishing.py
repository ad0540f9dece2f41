"""Saves the Report and the workspace's view: made once, and made anew in its place from then on.

Every step has an end: a server that does not answer costs a minute and a message, not an evening.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.errors import SettingsError, StageError
from msm_ray.graph.artifacts import Artifact
from msm_ray.report import words
from msm_ray.tracking import keys, leaving, names, report_spec
from msm_ray.tracking.waiting import within
from msm_ray.whole_files import write_whole

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

SPECIFICATION, PUBLISHED = "report.json", "published.json"
"""Below `<root>/wandb`: the Report and view as they would be sent, and what W&B calls those that were."""
LONGEST_SAVE = 60.0
"""Seconds for each of Report, chart and view."""


def told(settings: ExperimentSettings, root: Path, there: Mapping[str, Artifact]) -> report_spec.Told:
    """What the Report is made of. Raises SettingsError for a report of an earlier version."""
    made = next(artifact for artifact in there.values() if artifact.stage == "report")
    content = json.loads((made.folder / "report.json").read_text(encoding="utf-8"))
    if "answer" not in content:
        raise SettingsError(f"{made.folder}: {words.EARLIER}")
    corpora = [artifact for artifact in there.values() if artifact.stage == "corpus"]
    pictures = [leaving.key_of(picture) for picture in leaving.pictures(made)]
    return report_spec.Told(settings, content, corpora, names.experiment_run(settings, root), pictures)


def keep(settings: ExperimentSettings, root: Path, there: Mapping[str, Artifact]) -> Path:
    """Write the Report's specification beside the runs; returns the file."""
    path = root / "wandb" / SPECIFICATION
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(report_spec.as_json(told(settings, root, there)), indent=1))
    return path


def publish(
    settings: ExperimentSettings, root: Path, there: Mapping[str, Artifact], home: report_spec.Home
) -> list[str]:
    """Save the Report and the view where they were saved before, else new ones; returns their addresses.

    Raises StageError where the server does not take the Report; a chart or view that it does not take is warned about.
    """
    noted = root / "wandb" / PUBLISHED
    before = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {}
    if (before.get("entity"), before.get("project")) != (home.entity, home.project):
        before = {}
    chart = within(LONGEST_SAVE, lambda: _save_chart(home))
    if isinstance(chart, Exception):
        _warn("the bar chart with intervals", chart, "the Report has plain bars and a table of intervals")
    home = replace(home, chart=not isinstance(chart, Exception))
    facts = told(settings, root, there)
    saved = within(LONGEST_SAVE, lambda: _save_report(facts, home, before.get("report", "")))
    if isinstance(saved, Exception):
        raise StageError(
            f"{keys.host()} did not take the Report ({_first_line(saved)}); the runs are there, its specification is "
            f"{keep(settings, root, there)}, and the same command tries again"
        )
    ids = {"entity": home.entity, "project": home.project, "report": saved.id}
    seen = within(LONGEST_SAVE, lambda: _save_view(facts, home, before.get("view", ["", ""])))
    if isinstance(seen, Exception):
        _warn("the workspace's view", seen, "the same command tries again")
        write_whole(noted, json.dumps(ids))
        return [saved.url]
    write_whole(noted, json.dumps({**ids, "view": [seen._internal_name, seen._internal_id]}))
    return [saved.url, seen.url]


def _save_chart(home: report_spec.Home) -> None:
    import wandb

    wandb.Api().create_custom_chart(
        entity=home.entity, name=report_spec.CHART, display_name="Rates with intervals (msm_ray)", spec_type="vega2",
        access="private", spec=report_spec.BARS,
    )  # fmt: skip


def _save_report(facts: report_spec.Told, home: report_spec.Home, before: str) -> Any:
    made = report_spec.report(facts, home)
    made.id = before
    try:
        return made.save()
    except Exception:
        if not before:
            raise
        made.id = ""  # somebody has removed it
        return made.save()


def _save_view(facts: report_spec.Told, home: report_spec.Home, before: Sequence[str]) -> Any:
    made = report_spec.view(facts, home)
    made._internal_name, made._internal_id = before
    try:
        return made.save()
    except Exception:
        if not before[0]:
            raise
        made._internal_name, made._internal_id = "", ""
        return made.save()


def _warn(what: str, error: Exception, then: str) -> None:
    warnings.warn(f"{keys.host()} did not take {what} ({_first_line(error)}): {then}", stacklevel=3)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
