"""Run an experiment: find what is missing, make it, say what was done. The same command goes on after any interruption."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msm_ray import forecast, machine, plan, preflight, progress, ray_private, ray_session, stages
from msm_ray.artifacts import Artifact, ArtifactStore, is_committed
from msm_ray.config import ExperimentSettings
from msm_ray.errors import MsmError, PreflightError, SettingsError, StageError, command_line
from msm_ray.experiment import KINDS, Experiment, Stage, document_settings
from msm_ray.placement import Placement, placements, short_here
from msm_ray.preflight import Finding
from msm_ray.serve import Served, names
from msm_ray.serve.address import take_port
from msm_ray.stages import Draft, Workshop
from msm_ray.whole_files import write_whole

GROUPS: tuple[tuple[str, ...], ...] = (
    ("base",), ("outline",), ("documents",), ("corpus",), ("replay",), ("chats",), ("items",), ("blocks",),
    ("midtrain", "sft"), ("rollouts",), ("verdicts",), ("report",),
)  # fmt: skip
"""Kinds that run together: all documents through one engine, all training in one worker group, all rollouts on one server."""


def run(
    experiment: Experiment,
    store: ArtifactStore,
    *,
    findings: Sequence[Finding] = (),
    until: str | None = None,
    force: tuple[str, ...] = (),
    new_version: bool = False,
) -> None:
    """Make every stage that is missing, up to the kind `until` (None: all).

    findings: what `preflight.check` told; warnings are said, errors refuse the stages that they concern.
    force: kinds (`sft`) or stages (`sft/cheese-s0`) to make anew in place; new_version: stale stages get a next version.
    A stage that fails stops what depends on it and nothing else; quota, credentials and a full disk stop everything.
    Raises SettingsError where settings changed under what is there, PreflightError where the machine cannot run it, and in
    the end the kind of error that failed first; in each case after printing what is done, what is left and the command that
    goes on.
    """
    _check_force(experiment, force)
    wanted = KINDS[: KINDS.index(until) + 1] if until else KINDS
    with store.lock():
        planned = plan.plan(experiment, store)
        plan.refuse_damaged(planned, force, new_version)
        plan.refuse_stale(planned, force, new_version)
        forced = _Forced(store.root, force)
        todo = [p for p in planned if p.stage.kind in wanted and (p.found.state != "present" or forced.names(p.stage))]
        if not todo:
            stages.say(f"nothing to do: all {len([p for p in planned if p.stage.kind in wanted])} stages are there")
            _last_words(experiment, store, wanted)
            return
        preflight.refuse(findings, {p.stage.kind for p in todo})
        preflight.say(findings)
        asked = placements(experiment.settings, {p.stage.kind for p in todo})
        outlook = _preflight(experiment.settings, store.root, todo, asked)
        stages.say(f"{len(todo)} of {len(planned)} stages to make, in {store.root}")
        started = time.monotonic()
        made: list[str] = []
        logs = _log_folder(store)
        reporter = _reporter(experiment, store, [p for p in planned if p.stage.kind in wanted], todo)
        reporter.expect(outlook)
        try:
            with progress.reporting(reporter, logs, stages.say), _workshop(experiment, store, asked, logs) as workshop:
                for kinds in (g for g in GROUPS if g[0] in wanted):
                    made += _run_group(workshop, kinds, forced, new_version)
                if workshop.failures:
                    raise _all_failures(workshop, wanted)
        except BaseException:
            _say_what_is_left(experiment, store, wanted)
            raise
        forced.finished()
        stages.say(f"done: {len(made)} stages in {time.monotonic() - started:.0f} s")
        _last_words(experiment, store, wanted)


def _log_folder(store: ArtifactStore) -> Path:
    """Where this run's logs go, if there are any."""
    return store.root / "logs" / time.strftime("%Y%m%dT%H%M%S")


def _reporter(
    experiment: Experiment, store: ArtifactStore, planned: Sequence[plan.Planned], todo: Sequence[plan.Planned]
) -> progress.Reporter:
    """Who tells of this run: every stage that it is asked for, done or waiting."""
    waiting = {p.stage.key for p in todo}
    about = {"experiment": experiment.settings.experiment, "command": command_line()}
    reporter = progress.Reporter(store.root, about, {p.stage.key: {"state": "waiting"} for p in planned})
    for p in planned:
        if p.stage.key not in waiting:
            reporter.finished(p.stage.key, _present(p.found.artifact).folder)
    return reporter


class _Forced:
    """What `--force` names, less what an interrupted run with the same words has begun anew already.

    Without that, "the same command goes on" would wipe what it had made.
    """

    def __init__(self, root: Path, force: tuple[str, ...]):
        self._note, self._force = root / "unfinished-force.json", sorted(force)
        self._begun: list[str] = []
        if force and self._note.exists():
            noted = json.loads(self._note.read_text(encoding="utf-8"))
            self._begun = noted["begun"] if noted["force"] == self._force else []

    def names(self, stage: Stage) -> bool:
        """Whether a stage is still to be wiped and made anew."""
        return (stage.kind in self._force or stage.key in self._force) and stage.key not in self._begun

    def begin(self, keys: list[str]) -> None:
        """These are about to be wiped."""
        self._begun += keys
        if keys:
            write_whole(self._note, json.dumps({"force": self._force, "begun": self._begun}))

    def finished(self) -> None:
        """Everything is there: the next `--force` starts anew."""
        self._note.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Choice:
    """A stage to make. anew: `force`, `version` or None; replaced: the version that `force` takes the place of."""

    stage: Stage
    inputs: dict[str, str | None]
    anew: str | None
    replaced: int | None


def _choose(workshop: Workshop, kinds: tuple[str, ...], forced: _Forced, new_version: bool) -> list[_Choice]:
    """The stages of some kinds that are to be made; nothing is touched yet. What goes on from a forced one is forced too.

    Left out are those that wait for one that failed. One that is there and was made from other things is a failure itself.
    """
    chosen: dict[str, _Choice] = {}
    problems: dict[str, str] = {}
    waiting = waiting_for(workshop)
    for stage in (s for s in workshop.experiment.stages.values() if s.kind in kinds and s.key not in waiting):
        inputs = {key: workshop.digest(key) for key in stage.inputs}
        found = plan.look_up(workshop.store, stage, inputs)
        after_forced = any(key in chosen and chosen[key].anew == "force" for key in stage.inputs)
        anew = "force" if forced.names(stage) or after_forced else None
        if found.state == "present" and not anew:
            workshop.artifacts[stage.key] = there = _present(found.artifact)
            if reporter := progress.current():
                reporter.finished(stage.key, there.folder)
            continue
        stale = found.state == "stale" and any(digest is not None for digest in inputs.values())
        if stale and not (anew or new_version) and stage.kind != "report":
            problems[stage.key] = plan.describe_change(stage, found.changed or {}, found.draft)
        if found.state == "damaged" and not (anew or new_version):
            problems[stage.key] = plan.describe_damage(stage, found)
        replaced = found.artifact.version if found.artifact else None
        chosen[stage.key] = _Choice(stage, inputs, anew or ("version" if new_version else None), replaced)
    if problems:
        changed = SettingsError(
            "what these were made from has changed:\n" + "\n".join(problems.values())
            + "\nGo on with --new-version (keeps them) or "
            + " ".join(f"--force {kind}" for kind in kinds) + " (replaces them)"
        )  # fmt: skip
        workshop.failures |= dict.fromkeys(problems, changed)
    return [choice for choice in chosen.values() if not _reaches(workshop, choice.stage, problems)]


def _reaches(workshop: Workshop, stage: Stage, keys: Container[str]) -> bool:
    """Whether a stage is one of some, or is made from one of them, however far back."""
    inputs = (workshop.experiment.stages[key] for key in stage.inputs)
    return stage.key in keys or any(_reaches(workshop, each, keys) for each in inputs)


def waiting_for(workshop: Workshop) -> dict[str, str]:
    """The stages that cannot be made since one that they are made from has failed -> that one."""
    waiting: dict[str, str] = {}
    for stage in workshop.experiment.stages.values():
        behind = [key for key in stage.inputs if key in workshop.failures or key in waiting]
        if behind and stage.key not in workshop.failures:
            waiting[stage.key] = waiting.get(behind[0], behind[0])
    return waiting


def _all_failures(workshop: Workshop, wanted: tuple[str, ...]) -> MsmError:
    """One error of the kind that came first: what failed, why, and what waits for it."""
    waiting = {key: cause for key, cause in waiting_for(workshop).items() if key.partition("/")[0] in wanted}
    first = next(iter(workshop.failures.values()))
    told: dict[int, list[str]] = {}
    for key, error in workshop.failures.items():
        told.setdefault(id(error), []).append(key)
    lines = []
    for error in {id(error): error for error in workshop.failures.values()}.values():
        keys = told[id(error)]
        why = (
            str(error)
            if isinstance(error, MsmError)
            else f"not foreseen, please report it: {type(error).__name__}: {error}"
        )
        lines.append(f"{_shown(keys)} failed: {why}")
        if held_up := [key for key, cause in waiting.items() if cause in keys]:
            lines.append(f"{len(held_up)} stages wait for it: {_shown(held_up)}")
    kind = type(first) if isinstance(first, MsmError) else StageError
    return kind("\n".join(lines))


def _shown(keys: Sequence[str], most: int = 6) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _run_group(workshop: Workshop, kinds: tuple[str, ...], forced: _Forced, new_version: bool) -> list[str]:
    """Make the missing stages of some kinds together; each is committed as soon as it is whole."""
    chosen = _choose(workshop, kinds, forced, new_version)
    forced.begin([choice.stage.key for choice in chosen if choice.anew == "force"])
    drafts = [_begin(workshop, choice) for choice in chosen]
    made: list[str] = []
    if drafts:
        started = time.monotonic()
        stages.say(f"{'/'.join(kinds)}: {len(drafts)} to make")
        reporter = progress.current()
        folders = {draft.stage.key: draft.folder for draft in drafts}
        with reporter.group("/".join(kinds), folders) if reporter else contextlib.nullcontext():
            try:
                stages.make(workshop, kinds[0], drafts)
            except Exception as error:
                _fail_the_rest(workshop, drafts, error)
        made = [draft.stage.key for draft in drafts if draft.stage.key in workshop.artifacts]
        seconds = time.monotonic() - started
        not_all = f"{len(made)} of {len(drafts)} " if len(made) < len(drafts) else ""
        stages.say(f"{'/'.join(kinds)}: {not_all}done in {seconds:.0f} s")
        _note_time(workshop.store.root, "/".join(kinds), len(made), seconds)
    return made


def _fail_the_rest(workshop: Workshop, drafts: Sequence[Draft], error: Exception) -> None:
    """An error that ended a whole group ends those of its drafts that are neither committed nor failed by themselves."""
    for draft in drafts:
        key = draft.stage.key
        if key not in workshop.artifacts and is_committed(draft.folder):
            workshop.settle(draft)
        if key not in workshop.artifacts and key not in {**workshop.failures, **waiting_for(workshop)}:
            workshop.fail(draft, error)


def _note_time(root: Path, what: str, made: int, seconds: float) -> None:
    """`timings.jsonl` below the root: how long each group of stages took, for `benchmarks/quickstart.py`."""
    with (root / "timings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"what": what, "made": made, "seconds": round(seconds, 2)}) + "\n")


def _begin(workshop: Workshop, choice: _Choice) -> Draft:
    stage = choice.stage
    folder, record = workshop.store.begin(
        stage.kind, stage.name, stage.settings, choice.inputs, anew=choice.anew, replaced=choice.replaced
    )
    pending = {key: str(workshop.folder(key)) for key, digest in choice.inputs.items() if digest is None}
    draft = Draft(stage, folder, {**record, **({"pending": pending} if pending else {})})
    workshop.drafts[stage.key] = draft
    return draft


def _present(artifact: Artifact | None) -> Artifact:
    assert artifact is not None  # state "present" comes with one
    return artifact


def _check_force(experiment: Experiment, force: tuple[str, ...]) -> None:
    for name in force:
        if name not in KINDS and name not in experiment.stages:
            raise SettingsError(f"--force {name}: no such stage; give a kind ({', '.join(KINDS)}) or kind/name")


def _writes_from_hub(settings: ExperimentSettings) -> bool:
    """Whether a writer's model is no folder here, so that vLLM has to fetch it."""
    models = [how.model for how in (settings.documents, *settings.corpora.values()) if how.engine == "vllm"]
    return any(model and not Path(model).is_dir() for model in models)


@contextlib.contextmanager
def _workshop(
    experiment: Experiment, store: ArtifactStore, asked: Sequence[Placement], logs: Path
) -> Iterator[Workshop]:
    """Where stages are made. Ray starts with the first stage that needs it and ends with the run.

    asked: what the stages will ask of the cluster; logs: where what workers said is kept if the run fails.
    """
    with contextlib.ExitStack() as stack:
        opened = False

        def need_ray() -> None:
            nonlocal opened
            if not opened:
                settings = experiment.settings
                hub = _writes_from_hub(settings)
                with progress.waiting("Ray", "it to start"):
                    stack.enter_context(ray_session.open_session(settings.cluster, logs, hub=hub, asked=asked))
                ray_private.notices_to_stderr()
                opened = True

        workshop = Workshop(experiment, store, need_ray)
        with workshop.tracked:
            yield workshop


def _preflight(
    settings: ExperimentSettings, root: Path, todo: list[plan.Planned], asked: Sequence[Placement]
) -> forecast.Outlook | None:
    """Refuse at once what would fail later: a machine that is too small, a serving port that is taken, too few CPUs or GPUs.

    On a cluster that runs already (RAY_ADDRESS) this machine's size is not the cluster's: only the root's disk counts, and
    nothing is forecast. Returns how long it will take, where that is known.
    """
    cluster, alone = settings.cluster, "RAY_ADDRESS" not in os.environ
    found = machine.look(root)
    if alone:
        stages.say(found.line())
    small = cluster if alone else cluster.model_copy(update={"least_memory_gib": 0})
    machine.refuse_lacking(found, small, root, engines=alone and _runs_engines(settings, todo))
    if alone and (little := machine.warn_of_little(found, cluster)):
        warnings.warn(little, stacklevel=2)
    if alone and cluster.serving.port:  # on a cluster the proxy is on its head node: asked there when it starts
        take_port(cluster.serving.host or "127.0.0.1", cluster.serving.port)
    if alone and (problems := short_here(cluster, asked)):
        raise PreflightError("\n".join(problems))
    outlook = forecast.look(settings, todo) if alone else None
    if outlook:
        stages.say(outlook.line())
    return outlook


def _runs_engines(settings: ExperimentSettings, todo: list[plan.Planned]) -> bool:
    """Whether vLLM will run: for a writer, or to serve what is asked."""
    writers = [document_settings(settings, p.stage.name).engine for p in todo if p.stage.kind == "documents"]
    return "vllm" in writers or any(p.stage.kind == "rollouts" for p in todo)


def _say_what_is_left(experiment: Experiment, store: ArtifactStore, wanted: tuple[str, ...]) -> None:
    planned = [p for p in plan.plan(experiment, store) if p.stage.kind in wanted]
    done = [p for p in planned if p.found.state == "present"]
    left = [p.stage.key for p in planned if p.found.state != "present"]
    print(
        f"msm: {len(done)} stages done, {len(left)} left: {_shown(left)}\nmsm: go on with: {command_line()}",
        file=sys.stderr,
    )


def _last_words(experiment: Experiment, store: ArtifactStore, wanted: tuple[str, ...]) -> None:
    if "report" in wanted:
        from msm_ray.report import tables

        tables.show(report_of(experiment, store).folder)


def report_of(experiment: Experiment, store: ArtifactStore) -> Artifact:
    """The newest report of an experiment, with a word on standard error where it is out of date. Raises SettingsError."""
    last = plan.plan(experiment, store)[-1]
    if last.found.state == "present" and last.found.artifact:
        return last.found.artifact
    newest = [a for a in store.all() if a.stage == "report" and a.name == experiment.settings.experiment]
    if not newest:
        raise SettingsError(
            f"{store.root}: no report of '{experiment.settings.experiment}' yet; make it with `msm run`"
        )
    print("msm: this report is older than the settings or artifacts; `msm run` makes the next one", file=sys.stderr)
    return newest[-1]


@contextlib.contextmanager
def served_arms(experiment: Experiment, store: ArtifactStore) -> Iterator[Served]:
    """The trained arms up under their own names; no run writes under the same root meanwhile.

    Raises SettingsError when an arm is not trained yet, PreflightError while a run is writing there.
    """
    planned = {p.stage.key: p for p in plan.plan(experiment, store)}
    missing = sorted({t.checkpoint for t in experiment.trained if planned[t.checkpoint].found.state != "present"})
    if missing:
        raise SettingsError(f"not trained yet: {', '.join(missing)}; `msm train` makes them")
    asked = placements(experiment.settings, {"serve"})
    logs, nothing_made = _log_folder(store), progress.Reporter(None, {}, {})
    with (
        store.lock(),
        progress.reporting(nothing_made, logs, stages.say, bars=False),
        _workshop(experiment, store, asked, logs) as workshop,
    ):
        workshop.artifacts.update({key: _present(p.found.artifact) for key, p in planned.items() if p.found.artifact})
        with stages.named_arms(workshop) as served:
            yield served


def send_to_wandb(experiment: Experiment, store: ArtifactStore) -> None:
    """Send a finished experiment's runs and Report to W&B. Raises SettingsError where there is no report yet."""
    from msm_ray.tracking import upload

    with store.lock():  # a run that is being written would be sent in half, and taken for sent
        planned = plan.plan(experiment, store)
        there = {p.stage.key: p.found.artifact for p in planned if p.found.artifact}
        if not any(artifact.stage == "report" for artifact in there.values()):
            raise SettingsError(
                f"{store.root}: no report of '{experiment.settings.experiment}' yet; make it with `msm run`"
            )
        upload.send(experiment.settings, store.root, there, stages.say)


def serve(experiment: Experiment, store: ArtifactStore) -> None:
    """`msm serve`: keep the trained arms up until Ctrl-C, and say how to call them. Errors as in `served_arms`."""
    with served_arms(experiment, store) as served:
        for reason in dict.fromkeys(served.refused.values()):
            warnings.warn(reason, stacklevel=2)
        if not served.address.endswith(f":{names.PORT}/v1") and not experiment.settings.cluster.serving.port:
            print(f"msm: port {names.PORT} is taken here; another was taken", file=sys.stderr)
        print(names.how_to_ask(served, names.arm_names(experiment.trained)), flush=True)
        while True:
            time.sleep(3600)
