"""Run an experiment: find what is missing, make it, say what was done. The same command goes on after any interruption."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from msm_ray import cli, plan, ray_session, stages
from msm_ray.artifacts import Artifact, ArtifactStore
from msm_ray.config import ClusterSettings, ExperimentSettings
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.experiment import KINDS, Experiment, Stage
from msm_ray.serve.app import take_port
from msm_ray.stages import Draft, Workshop

GROUPS: tuple[tuple[str, ...], ...] = (
    ("base",), ("outline",), ("documents",), ("corpus",), ("replay",), ("chats",), ("blocks",), ("midtrain", "sft"),
    ("items",), ("rollouts",), ("verdicts",), ("report",),
)  # fmt: skip
"""Kinds that run together: all documents through one engine, all training in one worker group, all rollouts on one server."""


def run(
    experiment: Experiment,
    store: ArtifactStore,
    *,
    until: str | None = None,
    force: tuple[str, ...] = (),
    new_version: bool = False,
) -> None:
    """Make every stage that is missing, up to the kind `until` (None: all).

    force: kinds (`sft`) or stages (`sft/cheese-s0`) to make anew in place; new_version: stale stages get a next version.
    Raises SettingsError where settings changed under what is there, PreflightError where the machine cannot run it, and
    what a stage raises; in each case after printing what is done, what is left and the command that goes on.
    """
    _check_force(experiment, force)
    wanted = KINDS[: KINDS.index(until) + 1] if until else KINDS
    with store.lock():
        planned = plan.plan(experiment, store)
        plan.refuse_stale(planned, force, new_version)
        todo = [
            p for p in planned if p.stage.kind in wanted and (p.found.state != "present" or _forced(p.stage, force))
        ]
        if not todo:
            stages.say(f"nothing to do: all {len([p for p in planned if p.stage.kind in wanted])} stages are there")
            _last_words(experiment, store, wanted)
            return
        _preflight(experiment.settings.cluster, store.root)
        stages.say(f"{len(todo)} of {len(planned)} stages to make, in {store.root}")
        started = time.monotonic()
        made: list[str] = []
        try:
            with _workshop(experiment, store) as workshop:
                for kinds in (g for g in GROUPS if g[0] in wanted):
                    made += _run_group(workshop, kinds, force, new_version)
        except BaseException:
            _say_what_is_left(experiment, store, wanted)
            raise
        stages.say(f"done: {len(made)} stages in {time.monotonic() - started:.0f} s")
        _last_words(experiment, store, wanted)


def _run_group(workshop: Workshop, kinds: tuple[str, ...], force: tuple[str, ...], new_version: bool) -> list[str]:
    """Make the missing stages of some kinds together; each is committed as soon as it is whole."""
    drafts, problems = [], []
    for stage in (s for s in workshop.experiment.stages.values() if s.kind in kinds):
        inputs = {key: workshop.digest(key) for key in stage.inputs}
        found = plan.look_up(workshop.store, stage, inputs)
        forced = _forced(stage, force)
        if found.state == "present" and not forced:
            workshop.artifacts[stage.key] = _present(found.artifact)
            continue
        stale = found.state == "stale" and any(digest is not None for digest in inputs.values())
        if stale and not (forced or new_version) and stage.kind != "report":
            problems.append(plan.describe_change(stage, found.changed or {}, found.draft))
            continue
        anew = "force" if forced else ("version" if new_version else None)
        drafts.append(_begin(workshop, stage, inputs, anew))
    if problems:
        raise SettingsError(
            "what these were made from has changed:\n" + "\n".join(problems) + "\nGo on with --new-version (keeps them) or "
            + " ".join(f"--force {kind}" for kind in kinds) + " (replaces them)"
        )  # fmt: skip
    if drafts:
        started = time.monotonic()
        stages.say(f"{'/'.join(kinds)}: {len(drafts)} to make")
        stages.make(workshop, kinds[0], drafts)
        seconds = time.monotonic() - started
        stages.say(f"{'/'.join(kinds)}: done in {seconds:.0f} s")
        _note_time(workshop.store.root, "/".join(kinds), len(drafts), seconds)
    return [draft.stage.key for draft in drafts]


def _note_time(root: Path, what: str, made: int, seconds: float) -> None:
    """`timings.jsonl` below the root: how long each group of stages took, for `benchmarks/quickstart.py`."""
    with (root / "timings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "made": made, "seconds": round(seconds, 2)}) + "\n")


def _begin(workshop: Workshop, stage: Stage, inputs: dict[str, str | None], anew: str | None) -> Draft:
    folder, record = workshop.store.begin(stage.kind, stage.name, stage.settings, inputs, anew=anew)
    pending = {key: str(workshop.folder(key)) for key, digest in inputs.items() if digest is None}
    draft = Draft(stage, folder, {**record, **({"pending": pending} if pending else {})})
    workshop.drafts[stage.key] = draft
    return draft


def _present(artifact: Artifact | None) -> Artifact:
    assert artifact is not None  # state "present" comes with one
    return artifact


def _forced(stage: Stage, force: tuple[str, ...]) -> bool:
    return stage.kind in force or stage.key in force


def _check_force(experiment: Experiment, force: tuple[str, ...]) -> None:
    for name in force:
        if name not in KINDS and name not in experiment.stages:
            raise SettingsError(f"--force {name}: no such stage; give a kind ({', '.join(KINDS)}) or kind/name")


def _writes_from_hub(settings: ExperimentSettings) -> bool:
    """Whether a writer's model is no folder here, so that vLLM has to fetch it."""
    models = [how.model for how in (settings.documents, *settings.corpora.values()) if how.engine == "vllm"]
    return any(model and not Path(model).is_dir() for model in models)


@contextlib.contextmanager
def _workshop(experiment: Experiment, store: ArtifactStore) -> Iterator[Workshop]:
    """Where stages are made. Ray starts with the first stage that needs it and ends with the run."""
    with contextlib.ExitStack() as stack:
        opened = False

        def need_ray() -> None:
            nonlocal opened
            if not opened:
                logs = store.root / "logs" / time.strftime("%Y%m%dT%H%M%S")
                settings = experiment.settings
                stack.enter_context(ray_session.open_session(settings.cluster, logs, hub=_writes_from_hub(settings)))
                opened = True

        yield Workshop(experiment, store, need_ray)


def _preflight(cluster: ClusterSettings, root: Path) -> None:
    """Refuse at once what would fail later: no room on the disk, a serving port that is taken, too few logical CPUs."""
    free = shutil.disk_usage(root).free / 2**30
    if free < cluster.least_disk_gib:
        raise PreflightError(
            f"{root}: {free:.1f} GiB free, {cluster.least_disk_gib:g} needed (cluster.least_disk_gib); "
            "make room or give root=FOLDER"
        )
    if cluster.serving.port:
        take_port(cluster.serving.host, cluster.serving.port)
    needed = ray_session.cpus_needed(cluster)
    if "RAY_ADDRESS" not in os.environ and cluster.cpus < needed:
        raise PreflightError(
            f"cluster.cpus = {cluster.cpus}: the largest stage needs {needed:g} logical CPUs; set cluster.cpus={int(needed)} "
            "(logical CPUs may exceed cores)"
        )


def _say_what_is_left(experiment: Experiment, store: ArtifactStore, wanted: tuple[str, ...]) -> None:
    planned = [p for p in plan.plan(experiment, store) if p.stage.kind in wanted]
    done = [p for p in planned if p.found.state == "present"]
    left = [p.stage.key for p in planned if p.found.state != "present"]
    shown = ", ".join(left[:6]) + (f" and {len(left) - 6} more" if len(left) > 6 else "")
    print(
        f"msm: {len(done)} stages done, {len(left)} left: {shown}\nmsm: go on with: {cli.command_line()}",
        file=sys.stderr,
    )


def _last_words(experiment: Experiment, store: ArtifactStore, wanted: tuple[str, ...]) -> None:
    if "report" in wanted:
        show_report(experiment, store, as_json=False)


def show_report(experiment: Experiment, store: ArtifactStore, *, as_json: bool) -> None:
    """Print the report's tables, or `report.json`. Raises SettingsError when there is no report yet."""
    from msm_ray.report import tables

    last = plan.plan(experiment, store)[-1]
    newest = [a for a in store.all() if a.stage == "report" and a.name == experiment.settings.experiment]
    if last.found.state == "present" and last.found.artifact:
        artifact = last.found.artifact
    elif newest:
        artifact = newest[-1]
        print("msm: this report is older than the settings or artifacts; `msm run` makes the next one", file=sys.stderr)
    else:
        raise SettingsError(
            f"{store.root}: no report of '{experiment.settings.experiment}' yet; make it with `msm run`"
        )
    if as_json:
        print((artifact.folder / "report.json").read_text(encoding="utf-8"))
    else:
        tables.show(artifact.folder)


def serve(experiment: Experiment, store: ArtifactStore) -> None:
    """Serve the trained arms until interrupted. Raises SettingsError when an arm is not trained yet."""
    planned = {p.stage.key: p for p in plan.plan(experiment, store)}
    missing = sorted({t.checkpoint for t in experiment.trained if planned[t.checkpoint].found.state != "present"})
    if missing:
        raise SettingsError(f"not trained yet: {', '.join(missing)}; `msm train` makes them")
    with _workshop(experiment, store) as workshop:
        workshop.artifacts.update({key: _present(p.found.artifact) for key, p in planned.items() if p.found.artifact})
        stages.serve(workshop)
