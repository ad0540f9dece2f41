"""An experiment's run: a step for each finished stage, then rates, tables and references, all read from artifacts.

So what is there can be told again: by a resumed run for what was finished before, and by `upload` where nothing was tracked.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msm_ray.errors import StageError
from msm_ray.graph.artifacts import Artifact
from msm_ray.tracking import keys, leaving, names, publishing
from msm_ray.tracking.report_spec import Home
from msm_ray.tracking.run import Tracker, never_fatal, open_run

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

FEW_CONDITIONS = 6
"""Up to this many conditions of an eval have numbers of their own in the summary; the table has all."""
COUNTED = ("rows", "asked", "tokens", "rejected", "final_loss")
"""What of a stage's counts stands in its step and in the summary."""
MADE_BEFORE = frozenset({"checkpoint", "midtrain", "sft"})
"""Kinds whose artifacts the experiment's run uses: the training's own run makes them, or somebody else did."""
RATE_COLUMNS = (
    "eval", "arm", "condition", "of", "rate", "low", "high", "lower", "upper", "clear", "completed", "asked", "seeds",
)  # fmt: skip
DIFFERENCE_COLUMNS = ("eval", "a", "b", "condition", "of", "difference", "low", "high", "p", "p_holm", "word")
BAR_COLUMNS = ("arm", "rate", "low", "high", "seeds")
LINEAGE_COLUMNS = ("artifact", "version", "digest", "made from", "folder")


class ExperimentRun:
    """The run of an experiment in a root: opened by the first stage that is told, ended with the `with` block.

    offline: it is, whatever the settings say.
    """

    def __init__(self, settings: ExperimentSettings, root: Path, *, offline: bool = False):
        self._settings, self._root, self._offline = settings, root, offline
        self._open = contextlib.ExitStack()
        self._tracker: Tracker | None = None
        self._with_table: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        self._tracker = None

    @property
    def tracker(self) -> Tracker:
        """The open run, opened at the first call."""
        if self._tracker is None and keys.mode(self._settings.tracking) == "disabled":
            self._tracker = Tracker()
        if self._tracker is None:
            name = replace(names.experiment_run(self._settings, self._root), offline=self._offline)
            self._tracker = self._open.enter_context(open_run(name, leaving.config(self._settings)))
            self._tracker.define("stages")
        return self._tracker

    def training(self, record: Mapping[str, Any]) -> names.RunName | None:
        """The run of a training that is about to begin, online only where this one is. record: of its artifact."""
        if not self.tracker.keeps:
            return None
        name = names.training_run(self._settings, self._root, record)
        return name if self.tracker.online else replace(name, offline=True)

    def stage(self, artifact: Artifact, there: Mapping[str, Artifact]) -> None:
        """Tell of a finished stage. there: what is finished, by key, this one among it. Never raises."""
        with never_fatal():
            if self.tracker.keeps:
                self._stage(artifact, there)

    def _stage(self, artifact: Artifact, there: Mapping[str, Artifact]) -> None:
        of_its_kind = sum(each.stage == artifact.stage for each in there.values())
        counted = {f"{artifact.stage}/{key}": number for key, number in _counted(artifact).items()}
        self.tracker.log({"stages": len(there), f"{artifact.stage}/stages": of_its_kind, **counted})
        self.tracker.summary(_summary(artifact))
        self.tracker.reference(artifact, used=artifact.stage in MADE_BEFORE)
        if self._settings.tracking.texts:
            self._texts(artifact)
        if artifact.stage == "report":
            self._sum_up(there)
            self._publish(there)

    def sum_up(self, there: Mapping[str, Artifact]) -> None:
        """Tell all that stands for the whole experiment. there: what is finished, the report among it. Never raises.

        In W&B a run's summary is that of the piece that was sent last, whatever earlier pieces told.
        """
        with never_fatal():
            if self.tracker.keeps:
                self._sum_up(there)

    def _publish(self, there: Mapping[str, Artifact]) -> None:
        """The Report: its specification, and where W&B is online itself."""
        publishing.keep(self._settings, self._root, there)
        if not self.tracker.online:
            return
        home = Home(self.tracker.entity, self.tracker.project, self.tracker.url)
        try:
            for address in publishing.publish(self._settings, self._root, there, home):
                print(f"W&B: {address}", flush=True)
        except StageError as error:
            warnings.warn(str(error), stacklevel=2)

    def _texts(self, artifact: Artifact) -> None:
        """The table of a corpus or a set of chats, once in a piece."""
        if artifact.digest in self._with_table:
            return
        self._with_table.add(artifact.digest)
        if artifact.stage == "corpus":
            self.tracker.table(f"documents/{artifact.name}", leaving.DOCUMENT_COLUMNS, leaving.documents(artifact))
        if artifact.stage == "chats":
            self.tracker.table(f"chats/{artifact.name}", ("id", "chat"), leaving.chats(artifact))

    def _sum_up(self, there: Mapping[str, Artifact]) -> None:
        """The report's numbers as in `report.json`: what they are of stands beside each."""
        report = next(artifact for artifact in there.values() if artifact.stage == "report")
        tell_rates(self.tracker, json.loads((report.folder / "report.json").read_text(encoding="utf-8")))
        self.tracker.table("lineage", LINEAGE_COLUMNS, _lineage(there))
        for artifact in there.values():
            self.tracker.summary(_summary(artifact))
        if not self._settings.tracking.texts:
            return
        for artifact in there.values():
            self._texts(artifact)
        verdicts = [a for a in there.values() if a.stage == "verdicts"]
        self.tracker.table("transcripts", leaving.TRANSCRIPT_COLUMNS, leaving.transcripts(self._settings, verdicts))
        for picture in leaving.pictures(report):
            self.tracker.picture(leaving.key_of(picture), picture)


def tell_rates(tracker: Tracker, content: Mapping[str, Any]) -> None:
    """Rates with intervals, by arm and condition, and differences: tables and summaries. content: of `report.json`."""
    rates, differences = content["rates"], content["differences"]
    tracker.table("rates", RATE_COLUMNS, [_cells(row, RATE_COLUMNS) for row in rates])
    tracker.table("differences", DIFFERENCE_COLUMNS, [_cells(row, DIFFERENCE_COLUMNS) for row in differences])
    for name in dict.fromkeys(row["eval"] for row in rates):
        own = [row for row in rates if row["eval"] == name]
        conditions = {row["condition"] for row in own} - {None}
        overall = [row for row in own if row["condition"] is None]
        tracker.table(f"rates/{name}", BAR_COLUMNS, [_cells(row, BAR_COLUMNS) for row in overall])
        for row in own if len(conditions) <= FEW_CONDITIONS else overall:
            at = f"rate/{name}/{row['arm']}" + (f"/{row['condition']}" if row["condition"] else "")
            told = {at: row["rate"], f"{at}/low": row["low"], f"{at}/high": row["high"]}
            tracker.summary({key: number for key, number in told.items() if number is not None})
    of = ", ".join(dict.fromkeys(row["of"] for row in rates))
    tracker.summary({"rates are": of, "notes": " ".join(content["notes"])})


def _counted(artifact: Artifact) -> dict[str, int | float]:
    return {key: number for key, number in leaving.counts(artifact).items() if key in COUNTED}


def _summary(artifact: Artifact) -> dict[str, int | float]:
    return {f"stage/{artifact.stage}/{artifact.name}/{key}": number for key, number in _counted(artifact).items()}


def _cells(row: Mapping[str, Any], columns: tuple[str, ...]) -> list[Any]:
    return ["all" if column == "condition" and row[column] is None else row.get(column) for column in columns]


def _lineage(there: Mapping[str, Artifact]) -> list[list[Any]]:
    return [
        [key, a.version, a.digest[:16], ", ".join(a.record.get("inputs", {})), a.folder.resolve().as_uri()]
        for key, a in there.items()
    ]
