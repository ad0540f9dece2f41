"""What commands do with an experiment: run it, serve its arms, find its report, send it to W&B."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_ray import forecast, machine, preflight, progress, ray_private, ray_session, storage
from msm_ray.config import ExperimentSettings
from msm_ray.config.recipes import aft_settings, arm_thinking, check_settings, document_settings
from msm_ray.corpus.settings import CheckWhere
from msm_ray.engines.open import Engines
from msm_ray.engines.spending import JOURNAL, Spending
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.generate.document_settings import DocumentWhere
from msm_ray.generate.writer_settings import WrittenChatsWhere
from msm_ray.graph import planning, running
from msm_ray.graph.artifacts import Artifact
from msm_ray.graph.making import Told, say
from msm_ray.graph.planning import Planned
from msm_ray.graph.running import Wishes, Workplace
from msm_ray.graph.store import ArtifactStore
from msm_ray.pipeline import Experiment
from msm_ray.placement import placements, short_here, writing_engines
from msm_ray.preflight import Finding
from msm_ray.preflight.buckets import refuse_bucket
from msm_ray.report import tables
from msm_ray.serve import Served, names, open_arms
from msm_ray.serve.address import take_port
from msm_ray.settings_base import part
from msm_ray.stages.base import Base, model_folder
from msm_ray.stages.machine import Machine
from msm_ray.stages.rendering import chat_options
from msm_ray.stages.serving import asked_options, brings_template, served_name, serving_folder
from msm_ray.stages.training import Midtrain, Sft, checkpoint_folder
from msm_ray.tracking import ExperimentRun, upload
from msm_ray.train.settings import TrainWhere


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

    findings: what `preflight.check` told; warnings are said, errors refuse the stages that they concern. force, new_version: see
    `graph.running.Wishes`; errors as in `graph.running.run`, and PreflightError where the machine cannot run it.
    """
    wishes, kinds = Wishes(until, force, new_version), set[str]()

    def refuse(todo: Sequence[Planned], reporter: progress.Reporter) -> None:
        kinds.update(p.node.kind for p in todo)
        preflight.refuse(findings, kinds)
        preflight.say(findings)
        reporter.expect(_refuse_too_small(experiment.settings, storage.local(store.root), todo))

    def opened() -> contextlib.AbstractContextManager[tuple[Machine, Told]]:
        return _machine(experiment, store, kinds, logs)

    with store.lock():
        logs = _log_folder(store)
        running.run(experiment.graph, store, wishes, Workplace(experiment.settings.experiment, logs, refuse, opened))
        if experiment.graph.of_kind("report") and "report" in wishes.kinds(experiment.graph):
            tables.show(report_of(experiment, store).folder)


def _log_folder(store: ArtifactStore) -> Path:
    """Where this run's logs go, if there are any."""
    return storage.local(store.root) / "logs" / time.strftime("%Y%m%dT%H%M%S")


def _refuse_too_small(settings: ExperimentSettings, root: Path, todo: Sequence[Planned]) -> forecast.Outlook | None:
    """Refuse at once what would fail later: a machine that is too small, a serving port that is taken, too few CPUs or GPUs.

    On a cluster that runs already (RAY_ADDRESS) this machine's size is not the cluster's: only the root's disk counts, and
    nothing is forecast. Returns how long it will take, where that is known.
    """
    cluster, alone = settings.cluster, "RAY_ADDRESS" not in os.environ
    asked = placements(settings, {p.node.kind for p in todo})
    found = machine.look(root)
    if alone:
        say(found.line())
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
        say(outlook.line())
    return outlook


def _runs_engines(settings: ExperimentSettings, todo: Sequence[Planned]) -> bool:
    """Whether vLLM will run: for a writer, or to serve what is asked."""
    kinds = {p.node.kind for p in todo}
    return "rollouts" in kinds or "vllm" in writing_engines(settings, kinds)


def _writes_from_hub(settings: ExperimentSettings) -> bool:
    """Whether a writer's model is no folder here, so that vLLM has to fetch it."""
    documents = (settings.documents, *settings.corpora.values())
    models = [how.model for how in documents if how.engine == "vllm"]
    models += [settings.writer.model] if settings.writer.engine == "vllm" else []
    models += [own.model for how in (settings.writer.calls, settings.documents.writers) for own in how.values()]
    return any(model and not Path(model).is_dir() for model in models)


@contextlib.contextmanager
def _machine(
    experiment: Experiment, store: ArtifactStore, kinds: set[str], logs: Path
) -> Iterator[tuple[Machine, Told]]:
    """Where stages are made, and who is told of them. Ray starts with the first stage that needs it and ends with the run.

    kinds: of the stages that may be made; logs: where what workers said is kept if the run fails.
    """
    settings = experiment.settings
    with contextlib.ExitStack() as stack:
        opened = False

        def need_ray() -> None:
            nonlocal opened
            if not opened:
                asked, hub = placements(settings, kinds), _writes_from_hub(settings)
                with progress.waiting("Ray", "it to start"):
                    stack.enter_context(ray_session.open_session(settings.cluster, logs, hub=hub, asked=asked))
                ray_private.notices_to_stderr()
                stack.callback(engines.close)
                opened = True

        root = storage.local(store.root)
        spending = Spending(store.root / JOURNAL, settings.writer.spend_limit)
        engines = Engines(settings.cluster.generation, spending, need_ray)
        with ExperimentRun(settings, root) as tracked:
            yield (
                Machine(
                    root=root,
                    cluster=settings.cluster,
                    tracked=tracked,
                    need_ray=need_ray,
                    writing=_writing(experiment),
                    checking=part(check_settings(settings), CheckWhere),
                    asking=experiment.asking,
                    comparing=_comparing(experiment),
                    engines=engines,
                    training=_training(experiment),
                    labels=_labels(experiment),
                    asked_with=_asked_with(experiment),
                ),
                tracked.stage,
            )


def _writing(experiment: Experiment) -> dict[str, DocumentWhere]:
    kinds = ("documents", "rewrites", "given")
    written = [node for kind in kinds for node in experiment.graph.of_kind(kind)]
    return {node.key: part(document_settings(experiment.settings, node.name), DocumentWhere) for node in written}


def _comparing(experiment: Experiment) -> dict[str, WrittenChatsWhere]:
    where = part(experiment.settings.writer, WrittenChatsWhere)
    return {node.key: where for node in experiment.graph.of_kind("written-chats")}


def _training(experiment: Experiment) -> dict[str, TrainWhere]:
    settings = experiment.settings
    own = {one.checkpoint.key: part(aft_settings(settings, one.arm), TrainWhere) for one in experiment.trained}
    midtraining = part(settings.midtraining, TrainWhere)
    return own | {node.key: midtraining for node in experiment.graph.of_kind("midtrain")}


def _labels(experiment: Experiment) -> dict[str, Mapping[str, str]]:
    """Lines for the cards of checkpoints: whose they are, and how they are asked."""
    return {n.key: _facts(experiment, n) for n in experiment.graph.nodes.values() if isinstance(n, Midtrain | Sft)}


def _facts(experiment: Experiment, node: Midtrain | Sft) -> dict[str, str]:
    arms = [one.arm for one in experiment.trained if one.checkpoint.key == node.key]
    facts = {
        "experiment": experiment.settings.experiment,
        "stage": node.key,
        "arms": ", ".join(arms) or "(part of others)",
    }
    midtrain = node.parent if isinstance(node, Sft) else node
    if midtrain:
        facts["spec digest"] = experiment.specs[midtrain.blocks.texts.name].digest
    return facts


def _asked_with(experiment: Experiment) -> dict[str, tuple[Mapping[str, Any], bool | None]]:
    settings = experiment.settings
    return {
        one.checkpoint.key: (settings.chat_template_kwargs, arm_thinking(settings, one.arm))
        for one in reversed(experiment.trained)
    }


def report_of(experiment: Experiment, store: ArtifactStore) -> Artifact:
    """The newest report of an experiment, with a word on standard error where it is out of date. Raises SettingsError."""
    last = planning.plan(experiment.graph, store)[-1]
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
    """The trained arms up under their own names (`values/msm-aff+aft`, `...@s1`); no run writes under the same root meanwhile.

    Raises SettingsError when an arm is not trained yet, PreflightError while a run is writing there.
    """
    refuse_bucket(store.root, "serving")
    planned = {p.node.key: p for p in planning.plan(experiment.graph, store)}
    there = {key: p.found.artifact for key, p in planned.items() if p.found.state == "present" and p.found.artifact}
    missing = sorted({one.checkpoint.key for one in experiment.trained if one.checkpoint.key not in there})
    if missing:
        raise SettingsError(f"not trained yet: {', '.join(missing)}; `msm train` makes them")
    logs, nothing_made = _log_folder(store), progress.Reporter(None, {}, {})
    with (
        store.lock(),
        progress.reporting(nothing_made, logs, say, bars=False),
        _machine(experiment, store, {"serve"}, logs) as (machine, _),
    ):
        machine.need_ray()
        with _open_named(experiment, store.root, there) as served:
            yield served


def _open_named(
    experiment: Experiment, root: Path, there: Mapping[str, Artifact]
) -> contextlib.AbstractContextManager[Served]:
    settings, base = experiment.settings, model_folder(there[experiment.base.key].folder)
    trained = {one.checkpoint.key: one for one in experiment.trained if not isinstance(one.checkpoint, Base)}
    folders = {key: checkpoint_folder(one.checkpoint, there[key].folder) for key, one in trained.items()}
    options: dict[str | None, dict[str, Any]] = {
        served_name(one.checkpoint): asked_options(
            one.checkpoint, base, folders[key], settings.chat_template_kwargs, arm_thinking(settings, one.arm)
        )
        for key, one in trained.items()
    }
    return open_arms(
        base,
        {served_name(one.checkpoint): folders[key] for key, one in trained.items()},
        settings.cluster.serving,
        base_id=experiment.base.name,
        work=serving_folder(root),
        options={**options, None: chat_options(base, settings.chat_template_kwargs, None)},
        nodes_max=settings.cluster.nodes_max,
        aliases={
            name: None if isinstance(checkpoint, Base) else served_name(checkpoint)
            for name, checkpoint in names.arm_names(experiment.trained).items()
        },
        port=names.PORT,
        own_templates={served_name(one.checkpoint) for one in trained.values() if brings_template(one.checkpoint)},
    )


def send_to_wandb(experiment: Experiment, store: ArtifactStore) -> None:
    """Send a finished experiment's runs and Report to W&B. Raises SettingsError where there is no report yet."""
    refuse_bucket(store.root, "sending to W&B")
    with store.lock():  # a run that is being written would be sent in half, and taken for sent
        planned = planning.plan(experiment.graph, store)
        there = {p.node.key: p.found.artifact for p in planned if p.found.artifact}
        if not any(artifact.stage == "report" for artifact in there.values()):
            raise SettingsError(
                f"{store.root}: no report of '{experiment.settings.experiment}' yet; make it with `msm run`"
            )
        upload.send(experiment.settings, store.root, there, say)


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
