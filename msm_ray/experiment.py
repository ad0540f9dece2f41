"""An experiment as a graph of stages: arms x seeds plus evals, what is common made once. Plain Python, nothing is started.

::

    base ─┬───────────────┬──────────────────────────┬─────────────────────────────┐
    spec ─┴ outline ─ documents ─ corpus ─┐          │                             │
                               replay ────┴─ blocks ─┴ midtrain ─┐                 │
              chats (+ ordinary chats) ───── blocks ─────────────┴ sft ─┐          │
                                              items (one per eval) ─────┴ rollouts ┴ verdicts ─ report
"""

from __future__ import annotations

import fnmatch
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msm_ray import models
from msm_ray.code_digest import code_digest
from msm_ray.config import (
    DocumentSettings,
    ExperimentSettings,
    TrainSettings,
)
from msm_ray.errors import SettingsError
from msm_ray.evals.protocol import Background
from msm_ray.experiment_names import group_of, new_arms, unasked
from msm_ray.rows.files import file_digest
from msm_ray.spec import Spec, read_spec
from msm_ray.worlds import has_texts, world

KINDS = (
    "base", "outline", "documents", "corpus", "replay", "chats", "items", "blocks", "midtrain", "sft", "rollouts",
    "verdicts", "report",
)  # fmt: skip
"""The order in which kinds of stages can run: nothing needs a kind that comes later."""


CONTENT_VERSION = "content_version"
CONTENT_VERSIONS = dict.fromkeys(KINDS, 1) | {"documents": 3, "report": 2}
"""Per kind, which version of the code decides the content. Raise it with every change after which the same settings and inputs
make something else (`tests/test_content_versions.py` looks at some): old and new rows then never stand in one table unseen."""


@dataclass(frozen=True)
class Stage:
    """One node of the graph, and one artifact when it is done.

    settings: what decides its content (and its fingerprint). inputs: keys of the stages it is made from.
    rows, tokens, steps: what is expected, None where only the run can tell.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    rows: int | None = None
    tokens: int | None = None
    steps: int | None = None

    @property
    def key(self) -> str:
        """`kind/name`, unique in the graph."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class TrainedArm:
    """Where an arm's weights of one seed come from: the key of a base, midtrain or sft stage."""

    arm: str
    seed: int
    checkpoint: str


@dataclass(frozen=True)
class Experiment:
    """Settings with everything resolved: specs read, arms for new specs added, stages in an order that can run."""

    settings: ExperimentSettings
    specs: Mapping[str, Spec]
    stages: Mapping[str, Stage] = field(default_factory=dict)
    trained: tuple[TrainedArm, ...] = ()

    def of_kind(self, kind: str) -> list[Stage]:
        """The stages of one kind, in order."""
        return [stage for stage in self.stages.values() if stage.kind == kind]

    def arms_of(self, eval_name: str) -> list[str]:
        """The arms that an eval is for, in the order of the file."""
        patterns = self.settings.evals[eval_name].arms
        return [arm for arm in self.settings.arms if any(fnmatch.fnmatch(arm, p) for p in patterns)]


def build(settings: ExperimentSettings) -> Experiment:
    """Read the specs and lay out every stage. Raises SettingsError for a spec that cannot be read and for impossible recipes."""
    settings = with_new_spec_arms(settings)
    specs = {
        name: read_spec(Path(path).expanduser(), settings.assistant, name=name) for name, path in settings.specs.items()
    }
    _check_worlds(settings, specs)
    if wrong := unasked(settings):
        raise SettingsError("\n".join(f"'{'.'.join(map(str, at))}': {problem}" for at, problem in wrong))
    stages: dict[str, Stage] = {}

    def add(stage: Stage) -> str:
        stage = replace(stage, settings={**stage.settings, CONTENT_VERSION: CONTENT_VERSIONS[stage.kind]})
        known = stages.setdefault(stage.key, stage)
        if known.settings != stage.settings or known.inputs != stage.inputs:
            raise SettingsError(f"two different stages are called {stage.key}; give one another name")
        return stage.key

    base = add(_base(settings))
    for name in _used(recipe.midtrain for recipe in settings.arms.values()):
        _add_corpus(add, settings, specs[name], name, base)
    for name in used_chats(settings):
        add(_chats(settings, name))
    trained = tuple(
        TrainedArm(arm, seed, _add_training(add, settings, arm, seed, base))
        for seed in range(settings.seeds)
        for arm in settings.arms
    )
    experiment = Experiment(settings, specs, stages, trained)
    verdicts = [key for name in settings.evals for key in _add_eval(add, experiment, name, base)]
    add(Stage("report", settings.experiment, _report_settings(settings), tuple(verdicts)))
    ordered = {s.key: s for kind in KINDS for s in stages.values() if s.kind == kind}
    return Experiment(settings, specs, ordered, trained)


def with_new_spec_arms(settings: ExperimentSettings) -> ExperimentSettings:
    """The settings with arms for new specs.

    `specs.mine=my_spec.md` on the command line: a spec that no arm names gets arms of its own, where the file asks for it."""
    named = {recipe.midtrain for recipe in settings.arms.values()}
    new = [name for name in settings.specs if name not in named]
    if new and settings.new_spec_arm is None:
        warnings.warn(
            f"specs: no arm is midtrained on {', '.join(new)}: nothing will be made of it; add an arm, or `new_spec_arm:`",
            stacklevel=2,
        )
    if not new or settings.new_spec_arm is None:
        return settings
    corpora = dict(settings.corpora)
    for name in new:
        corpora.setdefault(name, settings.documents.model_copy(update={"engine": "offline", "replay": None}))
    arms = {**settings.arms, **new_arms(settings)}
    return settings.model_copy(update={"arms": arms, "corpora": corpora})


def _check_worlds(settings: ExperimentSettings, specs: Mapping[str, Spec]) -> None:
    """Refuse at once what a closed language cannot say: another assistant, a spec with unknown words."""
    check_assistant(settings)
    for name in _used(recipe.midtrain for recipe in settings.arms.values()):
        check_language(settings, specs[name])


def check_assistant(settings: ExperimentSettings) -> None:
    """Raise SettingsError where the base knows no such assistant."""
    world(models.world_of(settings.base.source)).refuse_assistant(settings.assistant.name)


def check_language(settings: ExperimentSettings, spec: Spec) -> None:
    """Raise SettingsError where a spec has words that the documents' language has not."""
    try:
        world(settings.world).refuse_spec(spec)
    except SettingsError as error:
        raise SettingsError(f"specs.{spec.name}: {settings.specs[spec.name]}: {error}") from None


def _used(names: Iterable[str | None]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name]


def used_chats(settings: ExperimentSettings) -> list[str]:
    """The sets of chats that some arm is trained on, or that are mixed in."""
    mixed = (aft_settings(settings, arm).mix_source for arm in settings.arms)
    return _used([*(recipe.sft for recipe in settings.arms.values()), *mixed])


def _base(settings: ExperimentSettings) -> Stage:
    return Stage("base", models.base_name(settings.base.source), models.identity(settings.base))


def document_settings(settings: ExperimentSettings, spec: str) -> DocumentSettings:
    """How a spec's documents are written: its own corpus settings, else the shared ones."""
    return settings.corpora.get(spec, settings.documents)


def _add_corpus(add: Any, settings: ExperimentSettings, spec: Spec, name: str, base: str) -> None:
    how = document_settings(settings, name)
    content = how.content()
    replay_digest = {"replay_digest": file_digest(how.replay)} if how.replay else {}
    identity = {"spec_digest": spec.digest, "assistant": settings.assistant.content()}
    outline = add(
        Stage(
            "outline", name,
            {**identity, "world": settings.world, **{k: content[k] for k in ("types", "ideas", "documents")}},
            rows=how.documents,
        )
    )  # fmt: skip
    writer = (base,) if how.engine == "vllm" and how.model is None else ()
    written: dict[str, Any] = {"prompt_version": world(settings.world).prompt_version}
    written |= {k: content[k] for k in ("engine", "model", "ask", "replay", "url", "sampling", "attempts", "documents")}
    if how.engine in ("vllm", "endpoint") and how.ask == "chat":
        written |= chat_settings(settings, None)
    documents = add(Stage("documents", name, {**written, **replay_digest}, (outline, *writer), rows=how.documents))
    add(
        Stage(
            "corpus", name, {**identity, "world": settings.world, "least_share": how.least_share}, (documents,),
            rows=how.documents,
        )
    )  # fmt: skip


def _chats(settings: ExperimentSettings, name: str) -> Stage:
    chats = settings.chats[name]
    content = {**said(chats.content(), "thinking"), "assistant": settings.assistant.content()}
    if chats.path:
        content["path_digest"] = file_digest(chats.path)
    return Stage("chats", name, content, rows=chats.count)


def said(settings: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """Settings without those of the optional ones that say nothing: what was made before they existed stays as it is."""
    return {key: value for key, value in settings.items() if key not in optional or value not in (None, {}, ())}


def chat_settings(settings: ExperimentSettings, chats: str | None) -> dict[str, Any]:
    """What decides how chats are rendered: the experiment's kwargs, and what a set of chats says of its own (if any)."""
    own = settings.chats[chats].thinking if chats else None
    return said(
        {"chat_template_kwargs": settings.chat_template_kwargs, "thinking": own}, "chat_template_kwargs", "thinking"
    )


def aft_settings(settings: ExperimentSettings, arm: str) -> TrainSettings:
    """How an arm's AFT is trained: as its group says, else as the experiment does."""
    group = settings.groups.get(group_of(arm))
    return group.aft if group else settings.aft


def _add_training(add: Any, settings: ExperimentSettings, arm: str, seed: int, base: str) -> str:
    """The stages behind one arm and seed; returns the key of its checkpoint.

    Arms of different groups share a stage unless a group trains AFT its own way: then its AFT stages carry its name.
    """
    recipe = settings.arms[arm]
    own = f"{group_of(arm)}-" if group_of(arm) in settings.groups else ""
    checkpoint = base
    if recipe.midtrain:
        how = settings.midtraining
        mix = _add_replay(add, settings) if how.mix else ()
        text = said({"separator": settings.base.separator}, "separator")
        blocks = add(_blocks(how, text, f"{recipe.midtrain}-documents", f"corpus/{recipe.midtrain}", mix, base))
        checkpoint = add(_train("midtrain", f"{recipe.midtrain}-s{seed}", how, seed, (base, blocks)))
    if recipe.sft:
        how = aft_settings(settings, arm)
        check_aft(settings, arm)
        mixed = bool(how.mix and how.mix_source and recipe.sft != how.mix_source)
        mix = (f"chats/{how.mix_source}",) if mixed else ()
        text = chat_settings(settings, recipe.sft)
        if mixed and "thinking" in (other := chat_settings(settings, how.mix_source)):
            text["mix_thinking"] = other["thinking"]
        blocks = add(_blocks(how, text, f"{own}{recipe.sft}-chats", f"chats/{recipe.sft}", mix, base))
        name = f"{recipe.midtrain}+{recipe.sft}" if recipe.midtrain else recipe.sft
        parent = (checkpoint,) if recipe.midtrain else ()
        checkpoint = add(_train("sft", f"{own}{name}-s{seed}", how, seed, (base, blocks, *parent)))
    return checkpoint


def check_aft(settings: ExperimentSettings, arm: str) -> None:
    """Raise SettingsError for an AFT that can't go on with its midtraining, or that no other arm's AFT could be compared with."""
    recipe, how = settings.arms[arm], aft_settings(settings, arm)
    where = f"groups.{group_of(arm)}.aft" if group_of(arm) in settings.groups else "aft"
    if recipe.midtrain:
        _check_continues(settings.midtraining, how, where, arm)
    if how.mix_source == recipe.sft and how.steps is None:
        raise SettingsError(
            f"{where}.steps is missing: an arm trains on '{recipe.sft}' alone, and arms compare only after the same "
            f"number of SFT steps; give {where}.steps"
        )


def _check_continues(midtraining: TrainSettings, aft: TrainSettings, where: str, arm: str) -> None:
    """AFT goes on with the weights or the adapter that midtraining left (paper.md: it continues the MSM adapter)."""
    if aft.mode != midtraining.mode:
        raise SettingsError(
            f"{where}.mode is {aft.mode} and midtraining.mode is {midtraining.mode}: in '{arm}' AFT goes on with what "
            "midtraining trained; give both the same mode"
        )
    ours, theirs = (
        lora.model_copy(update={"targets": tuple(sorted(lora.targets))}) for lora in (aft.lora, midtraining.lora)
    )
    if aft.mode == "lora" and ours != theirs:
        raise SettingsError(
            f"{where}.lora differs from midtraining.lora: in '{arm}' AFT goes on with midtraining's adapter; give both the same"
        )


def _add_replay(add: Any, settings: ExperimentSettings) -> tuple[str]:
    how = settings.midtraining
    if not how.mix_source:
        raise SettingsError(
            "midtraining.mix is set and midtraining.mix_source is not; name what is mixed in, e.g. tinyworld"
        )
    largest = max([settings.documents.documents, *(c.documents for c in settings.corpora.values())])
    content: dict[str, Any] = {"source": how.mix_source, "count": round(1.5 * largest * how.mix / (1 - how.mix))}
    content["assistant"] = settings.assistant.content()
    if not has_texts(how.mix_source):
        content["source_digest"] = file_digest(how.mix_source)
    return (add(Stage("replay", "ordinary", content, rows=content["count"])),)


def _blocks(
    how: TrainSettings, text: Mapping[str, Any], name: str, main: str, mix: tuple[str, ...], base: str
) -> Stage:
    content = how.content()
    keys = ("sequence_length", "trained_on", *(("mix",) if mix else ()))
    return Stage("blocks", name, {**{key: content[key] for key in keys}, **text}, (main, *mix, base))


def _train(kind: str, name: str, how: TrainSettings, seed: int, inputs: tuple[str, ...]) -> Stage:
    content = {k: v for k, v in how.content().items() if k not in ("mix", "mix_source", "trained_on")}
    if how.mode == "full":
        content.pop("lora")
    tokens = how.steps * how.batch * how.sequence_length if how.steps else None
    return Stage(kind, name, {**content, "seed": seed}, inputs, tokens=tokens, steps=how.steps)


def _add_eval(add: Any, experiment: Experiment, name: str, base: str) -> list[str]:
    """Items once, then rollouts and verdicts for every arm and seed; returns the verdicts' keys."""
    how, about = experiment.settings.evals[name], background(experiment)
    made, asking, judging = how.items(about), how.asking().identity(), how.judging(about).identity()
    corpora = _written(experiment.settings) if made.held_against_corpora else ()
    items = add(Stage("items", name, made.identity(), corpora, rows=made.expected))
    arms, keys, asked = experiment.arms_of(name), [], made.expected_rollouts
    for trained in (t for t in experiment.trained if t.arm in arms):
        label = f"{name}-{trained.arm.replace('/', '.')}-s{trained.seed}"
        checkpoint = tuple(dict.fromkeys((trained.checkpoint, base)))
        own = {**asking, "arm": trained.arm, "seed": trained.seed}
        own |= chat_settings(experiment.settings, experiment.settings.arms[trained.arm].sft)
        rollouts = add(Stage("rollouts", label, own, (items, *checkpoint), rows=asked))
        keys.append(add(Stage("verdicts", label, judging, (rollouts, items), rows=asked)))
    return keys


def background(experiment: Experiment) -> Background:
    """What evals are told of the arms."""
    settings = experiment.settings
    return Background(
        assistant=settings.assistant.name,
        provider=settings.assistant.provider,
        world=settings.world,
        specs=tuple(spec.text for spec in experiment.specs.values()),
        domains=tuple(chats.domain for chats in settings.chats.values() if chats.domain),
    )


def _written(settings: ExperimentSettings) -> tuple[str, ...]:
    """The corpora that a writer writes; given documents are looked at before anything starts (`preflight`)."""
    specs = _used(recipe.midtrain for recipe in settings.arms.values())
    return tuple(f"corpus/{spec}" for spec in specs if document_settings(settings, spec).engine != "replay")


def _report_settings(settings: ExperimentSettings) -> dict[str, Any]:
    arms = {arm: recipe.content() for arm, recipe in settings.arms.items()}
    numbers = code_digest("stats.py", "intervals.py")
    content = {**settings.report.content(), "experiment": settings.experiment, "arms": arms, "statistics": numbers}
    return json.loads(json.dumps(content))
