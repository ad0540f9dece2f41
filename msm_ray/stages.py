"""What each kind of stage does: one function per kind, from drafts to committed artifacts. Called by `runner`."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from msm_ray import progress
from msm_ray.artifacts import Artifact, ArtifactStore, commit, is_committed
from msm_ray.config import TrainSettings
from msm_ray.errors import MsmError, OutOfMeans, StageError, no_room
from msm_ray.experiment import Experiment, Stage, aft_settings, background, chat_settings, document_settings
from msm_ray.serve import Served
from msm_ray.settings_base import part
from msm_ray.tracking import ExperimentRun
from msm_ray.worlds import world


@dataclass(frozen=True)
class Draft:
    """A stage being made: its folder, and the record it will be committed with."""

    stage: Stage
    folder: Path
    record: Mapping[str, Any]


@dataclass
class Workshop:
    """What the stages of one run share.

    artifacts: what is there; drafts: what has been begun; failures: what was begun and failed, and why; need_ray: starts
    Ray once; tracked: the experiment's W&B run.
    """

    experiment: Experiment
    store: ArtifactStore
    need_ray: Callable[[], None]
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    tracked: ExperimentRun = field(init=False)

    def __post_init__(self) -> None:
        self.tracked = ExperimentRun(self.experiment.settings, self.store.root)

    def folder(self, key: str) -> Path:
        """The folder of a stage that is there, or is being made by the same group."""
        return self.artifacts[key].folder if key in self.artifacts else self.drafts[key].folder

    def digest(self, key: str) -> str | None:
        """The digest of a stage that is there; None for one that is being made by the same group."""
        return self.artifacts[key].digest if key in self.artifacts else None

    @property
    def base(self) -> Path:
        """The base model's folder."""
        return self.folder(self.experiment.of_kind("base")[0].key) / "model"

    def finish(self, draft: Draft, counts: Mapping[str, Any]) -> None:
        """Commit a draft, unless its worker did; fewer rows than asked for are warned about."""
        warn_of_fewer(draft.stage.key, counts)
        if not is_committed(draft.folder):
            commit(draft.folder, draft.record, counts)
        self.settle(draft)

    def fail(self, draft: Draft, error: Exception) -> None:
        """Note that a draft failed: what depends on it will wait, and all else goes on.

        Raises the error again where no other stage would fare better: means that are spent, a full disk.
        """
        if isinstance(error, OutOfMeans) or no_room(error):
            raise error
        self.failures[draft.stage.key] = error
        if reporter := progress.current():
            reporter.failed(draft.stage.key, str(error) or type(error).__name__)
        if not isinstance(error, MsmError):
            traceback.print_exception(error)
        say(f"{draft.stage.key} failed: {str(error).partition(chr(10))[0]}")

    def settle(self, draft: Draft) -> None:
        """Take a committed draft into what is there, and tell of it."""
        record = json.loads((draft.folder / "artifact.json").read_text(encoding="utf-8"))
        stage = draft.stage
        made = self.artifacts[stage.key] = Artifact(stage.kind, stage.name, record["version"], draft.folder, record)
        self.tracked.stage(made, self.artifacts)
        if reporter := progress.current():
            reporter.finished(stage.key, draft.folder)


def warn_of_fewer(key: str, counts: Mapping[str, Any]) -> None:
    """A stage goes on with fewer rows than its settings ask for, but never silently: the dose differs from the plan."""
    missing = counts.get("asked", 0) - counts.get("rows", 0)
    if missing > 0:
        why = "; ".join(f"{name}: {n}" for name, n in counts.items() if name.startswith("rejected: "))
        warnings.warn(
            f"{key}: {counts['rows']:,} rows of the {counts['asked']:,} asked for ({why or 'the source has no more'})",
            stacklevel=2,
        )


def say(text: str) -> None:
    """A plain progress line with the time of day."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def make(workshop: Workshop, kind: str, drafts: Sequence[Draft]) -> None:
    """Make the drafts of one kind (or group of kinds): each is committed, or its failure noted.

    What is raised stopped all drafts that are neither.
    """
    together = {"documents": _documents, "midtrain": _training, "rollouts": _rollouts}
    if kind in together:
        together[kind](workshop, drafts)
        return
    for draft in drafts:
        if reporter := progress.current():
            reporter.working_on(draft.stage.key)
        try:
            workshop.finish(draft, _ONE_BY_ONE[kind](workshop, draft))
        except Exception as error:
            workshop.fail(draft, error)


def _make_base(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.models import fetch_base

    return fetch_base(draft.folder, workshop.experiment.settings.base)


def _make_outline(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.generate.outline import write_outline

    name = draft.stage.name
    settings = document_settings(workshop.experiment.settings, name)
    language = world(workshop.experiment.settings.world)
    return write_outline(draft.folder, workshop.experiment.specs[name], language, settings)


def _documents(workshop: Workshop, drafts: Sequence[Draft]) -> None:
    """All specs through one start of the engine."""
    from msm_ray.generate.document_job import DocumentJob
    from msm_ray.generate.document_settings import DocumentContent, DocumentWhere
    from msm_ray.generate.documents import write_all_documents
    from msm_ray.generate.outline import read_outline

    workshop.need_ray()
    jobs: dict[str, Draft] = {}
    todo = []
    for draft in drafts:
        name = draft.stage.name
        settings = document_settings(workshop.experiment.settings, name)
        try:
            outline = read_outline(workshop.folder(f"outline/{name}"))
        except MsmError as error:
            workshop.fail(draft, error)
            continue
        model = settings.model or str(workshop.base)
        options = workshop.experiment.settings.chat_template_kwargs
        job = DocumentJob(
            out=draft.folder,
            spec=workshop.experiment.specs[name],
            outline=outline,
            world=world(workshop.experiment.settings.world),
            content=part(settings, DocumentContent),
            where=part(settings, DocumentWhere),
            documents=settings.documents,
            model=model,
            chat_template_kwargs=options,
        )
        todo.append(job)
        jobs[name] = draft

    def finish(job: DocumentJob, counts: Mapping[str, Any]) -> None:
        rows, tokens = counts["documents"], counts["tokens_written"]
        workshop.finish(jobs[job.spec.name], {"rows": rows, "asked": job.documents, "tokens": tokens, **counts})

    generation = workshop.experiment.settings.cluster.generation
    write_all_documents(todo, generation, finish, lambda job, error: workshop.fail(jobs[job.spec.name], error))


def _make_corpus(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.corpus.checks import check_corpus

    name = draft.stage.name
    settings = document_settings(workshop.experiment.settings, name)
    spec, language = workshop.experiment.specs[name], world(workshop.experiment.settings.world)
    counts = check_corpus(draft.folder, workshop.folder(f"documents/{name}"), spec, language, settings.least_share)
    return {"rows": counts["documents"], "tokens": counts["tokens_written"] or None, **counts}


def _make_replay(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.generate.replayed import write_replay

    settings = draft.stage.settings
    return write_replay(draft.folder, settings["source"], settings["count"]) | {"asked": settings["count"]}


def _make_chats(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.generate.chats import write_chats

    settings = workshop.experiment.settings
    counts = write_chats(draft.folder, draft.stage.name, settings.chats[draft.stage.name], settings.assistant)
    return {"rows": counts["chats"], "asked": settings.chats[draft.stage.name].count, **counts}


def _make_blocks(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.corpus.blocks import Rendering, build_blocks

    main, *mix, _ = draft.stage.inputs
    kind: Literal["documents", "chats"] = "documents" if main.startswith("corpus/") else "chats"
    said = draft.stage.settings
    packed = {key: said[key] for key in ("sequence_length", "trained_on", "mix") if key in said}
    settings = TrainSettings.model_validate({"mix": 0.0, **packed})
    rendering = Rendering(
        separator=said.get("separator"),
        options=said.get("chat_template_kwargs", {}),
        thinking=said.get("thinking"),
        other_thinking=said.get("mix_thinking"),
    )
    counts = build_blocks(
        draft.folder,
        kind=kind,
        main=workshop.folder(main) / "data",
        other=workshop.folder(mix[0]) / "data" if mix else None,
        tokenizer=workshop.base,
        settings=settings,
        seed=0,
        rendering=rendering,
    )
    return {"rows": counts["blocks"], "tokens": counts["tokens_kept"], **counts}


def _training(workshop: Workshop, drafts: Sequence[Draft]) -> None:
    """Midtraining and SFT of all arms and seeds in one worker group; each job is committed by its rank 0."""
    from msm_ray.train.job import TrainingJob
    from msm_ray.train.launch import train_all
    from msm_ray.train.watching import watched

    workshop.need_ray()
    jobs = [_training_job(workshop, draft, TrainingJob) for draft in drafts]
    with watched(jobs):
        storage = workshop.store.root / "ray-train"
        failures = train_all(jobs, workshop.experiment.settings.cluster, storage, say=say)
    for draft in drafts:
        if is_committed(draft.folder):
            workshop.settle(draft)
        elif draft.stage.key in failures:
            workshop.fail(draft, failures[draft.stage.key])


def midtrained_spec(stage: Stage) -> str | None:
    """The spec whose documents a checkpoint has seen: a midtraining's own, or that of the midtraining an SFT continues."""
    if stage.kind == "midtrain":
        return stage.name.rpartition("-s")[0]
    parents = [key for key in stage.inputs if key.startswith("midtrain/")]
    return parents[0].removeprefix("midtrain/").rpartition("-s")[0] if parents else None


def _training_job(workshop: Workshop, draft: Draft, job: Any) -> Any:
    stage, settings = draft.stage, workshop.experiment.settings
    trained = [t.arm for t in workshop.experiment.trained if t.checkpoint == stage.key]
    how = settings.midtraining if stage.kind == "midtrain" else aft_settings(settings, trained[0])
    _, blocks, *parents = stage.inputs
    parent = workshop.folder(parents[0]) / ("model" if how.mode == "full" else "adapter") if parents else None
    facts = {"experiment": settings.experiment, "stage": stage.key, "arms": ", ".join(trained) or "(part of others)"}
    options = _chat_options(workshop, chat_settings(settings, settings.arms[trained[0]].sft)) if trained else {}
    if options:
        facts["asked with chat_template_kwargs"] = json.dumps(options)
    spec = midtrained_spec(stage)
    if spec:
        facts["spec digest"] = workshop.experiment.specs[spec].digest
    return job(
        name=stage.key,
        base=workshop.base,
        blocks=workshop.folder(blocks),
        out=draft.folder,
        settings=how,
        seed=stage.settings["seed"],
        parent=parent,
        record=draft.record,
        facts=facts,
        run=workshop.tracked.training(draft.record),
        base_source=settings.base.source,
    )


def _make_items(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    how = workshop.experiment.settings.evals[draft.stage.name].items(background(workshop.experiment))
    written = _written_texts([workshop.folder(key) for key in draft.stage.inputs])
    counts = how.write(draft.folder, written)
    _refuse_unaskable(workshop, draft)
    return counts


def _refuse_unaskable(workshop: Workshop, draft: Draft) -> None:
    """A question that the base's template refuses, or would read as control, is one before anything is asked."""
    from msm_ray.corpus import templates
    from msm_ray.errors import SettingsError
    from msm_ray.evals.items import read_items, turns_of

    chat = templates.read_format(workshop.base, workshop.experiment.settings.chat_template_kwargs)
    for item in read_items(draft.folder) if chat else []:
        if chat and (why := templates.unaskable(chat, turns_of(item))):
            raise SettingsError(f"evals.{draft.stage.name}: {item['condition']}: {why}: {item['user'][:200]!r}")


def _written_texts(corpora: Sequence[Path]) -> Iterator[str]:
    import pyarrow.dataset as datasets

    for corpus in corpora:
        for batch in datasets.dataset(corpus / "data").to_batches(columns=["text"]):
            yield from batch.column("text").to_pylist()


def checkpoint_folder(workshop: Workshop, key: str) -> Path:
    """Where an arm's weights lie: the base's model, a trained model, or an adapter."""
    folder = workshop.folder(key)
    return folder / "adapter" if (folder / "adapter").is_dir() else folder / "model"


def serving_folder(root: Path) -> Path:
    """Where a server notes what it serves, and under which address."""
    folder = root / "serve"
    folder.mkdir(exist_ok=True)
    return folder


def _served_arms(workshop: Workshop) -> dict[str, Path]:
    """Checkpoint keys as names to ask for -> folders; the base itself is asked by its own name."""
    keys = dict.fromkeys(t.checkpoint for t in workshop.experiment.trained)
    return {served_name(k): checkpoint_folder(workshop, k) for k in keys if not k.startswith("base/")}


def served_name(checkpoint: str) -> str:
    """The name under which a checkpoint is served, `sft/cheese-s0` as `sft.cheese-s0`."""
    return checkpoint.replace("/", ".")


def _arm_options(workshop: Workshop) -> dict[str | None, dict[str, Any]]:
    """What each served arm is asked with, by its name; None for the base."""
    settings = workshop.experiment.settings
    chats = {served_name(t.checkpoint): settings.arms[t.arm].sft for t in workshop.experiment.trained}
    options: dict[str | None, dict[str, Any]] = {
        name: _chat_options(workshop, chat_settings(settings, sft)) for name, sft in chats.items()
    }
    return {**options, None: _chat_options(workshop, chat_settings(settings, None))}


def _rollouts(workshop: Workshop, drafts: Sequence[Draft]) -> None:
    """All arms behind one address, asked arm by arm."""
    from msm_ray.evals.watching import watched
    from msm_ray.rollouts import RolloutJob, run_rollouts
    from msm_ray.serve import open_arms

    workshop.need_ray()
    settings = workshop.experiment.settings
    base_id = workshop.experiment.of_kind("base")[0].name
    wanted = {draft.stage.inputs[1] for draft in drafts}
    arms = {served_name(k): checkpoint_folder(workshop, k) for k in wanted if not k.startswith("base/")}
    by_label = {}
    for draft in sorted(drafts, key=lambda d: (d.stage.inputs[1], d.stage.name)):
        items_key, checkpoint, *_ = draft.stage.inputs
        name = base_id if checkpoint.startswith("base/") else f"{base_id}:{served_name(checkpoint)}"
        eval_name = items_key.partition("/")[2]
        job = RolloutJob(
            out=draft.folder,
            eval=eval_name,
            arm=draft.stage.settings["arm"],
            seed=draft.stage.settings["seed"],
            model=name,
            items=workshop.folder(items_key),
            asking=settings.evals[eval_name].asking(),
            chat_template_kwargs=_chat_options(workshop, draft.stage.settings),
        )
        by_label[draft.stage.key] = (draft, job)
    done = {str(job.out): draft for draft, job in by_label.values()}
    with open_arms(
        workshop.base,
        arms,
        settings.cluster.serving,
        base_id=base_id,
        work=serving_folder(workshop.store.root),
        options=_arm_options(workshop),
        nodes_max=settings.cluster.nodes_max,
    ) as served:
        say(f"serving {len(arms)} arms at {served.address}")
        for draft, job in by_label.values():
            if job.model in served.refused:
                workshop.fail(draft, StageError(served.refused[job.model]))
        asked = {key: job for key, (_, job) in by_label.items() if job.model not in served.refused}
        with watched(asked):
            run_rollouts(
                list(asked.values()),
                served.address,
                settings.cluster.serving,
                on_finished=lambda job, counts: workshop.finish(done[str(job.out)], counts),
                on_failed=lambda job, error: workshop.fail(done[str(job.out)], error),
                key=served.key,
            )


def _chat_options(workshop: Workshop, said: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm's chats are rendered with, in training and asking alike."""
    from msm_ray.corpus import templates

    chat = templates.read_format(workshop.base)
    return templates.chat_options(chat.text if chat else "", said.get("chat_template_kwargs", {}), said.get("thinking"))


def _make_verdicts(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.rollouts import write_verdicts

    rollouts, items = draft.stage.inputs
    eval_name = items.partition("/")[2]
    how = workshop.experiment.settings.evals[eval_name].judging(background(workshop.experiment))
    return write_verdicts(draft.folder, workshop.folder(rollouts), workshop.folder(items), how)


def _make_report(workshop: Workshop, draft: Draft) -> dict[str, Any]:
    from msm_ray.report import write_report

    return write_report(draft.folder, workshop.experiment, workshop.artifacts)


@contextlib.contextmanager
def named_arms(workshop: Workshop) -> Iterator[Served]:
    """Every trained arm up under the experiment's own names for it, for people: `values/msm-aff+aft`, `...@s1`."""
    from msm_ray.serve import open_arms
    from msm_ray.serve.names import PORT, arm_names

    workshop.need_ray()
    settings = workshop.experiment.settings
    called = arm_names(workshop.experiment.trained)
    with open_arms(
        workshop.base,
        _served_arms(workshop),
        settings.cluster.serving,
        base_id=workshop.experiment.of_kind("base")[0].name,
        work=serving_folder(workshop.store.root),
        options=_arm_options(workshop),
        nodes_max=settings.cluster.nodes_max,
        aliases={name: None if key.startswith("base/") else served_name(key) for name, key in called.items()},
        port=PORT,
    ) as served:
        yield served


_ONE_BY_ONE: dict[str, Callable[[Workshop, Draft], dict[str, Any]]] = {
    "base": _make_base,
    "outline": _make_outline,
    "corpus": _make_corpus,
    "replay": _make_replay,
    "chats": _make_chats,
    "blocks": _make_blocks,
    "items": _make_items,
    "verdicts": _make_verdicts,
    "report": _make_report,
}
