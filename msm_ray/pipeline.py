"""The story of the method: the kinds of stages in the order in which they run, and how an experiment unfolds into them.

::

    base ─┬───────────────┬──────────────────────────┬─────────────────────────────┐
    spec ─┴ outline ─ documents ─ corpus ─┐          │                             │
                               replay ────┴─ blocks ─┴ midtrain ─┐                 │
              chats (+ ordinary chats) ───── blocks ─────────────┴ sft ─┐          │
                                              items (one per eval) ─────┴ rollouts ┴ verdicts ─ report

Each kind is one file in `stages/`. Arms share a stage by being equal there: what is common is made once. Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msm_ray import models
from msm_ray.code_digest import code_digest
from msm_ray.config import ExperimentSettings
from msm_ray.config.names import group_of, unasked
from msm_ray.config.recipes import (
    aft_settings,
    asked_arms,
    check_aft,
    document_settings,
    thinking_of,
    unread_specs,
    used_chats,
    used_specs,
    with_new_spec_arms,
)
from msm_ray.config.writers import Resolved, call_writers, sharers
from msm_ray.corpus.settings import BlockSettings
from msm_ray.errors import SettingsError
from msm_ray.evals.protocol import Background
from msm_ray.generate.document_settings import DocumentContent, DocumentSettings
from msm_ray.generate.outline import OutlineContent
from msm_ray.generate.writer import Who
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.graph.node import Graph, Node, graph_of
from msm_ray.settings_base import part
from msm_ray.spec import Spec, read_spec
from msm_ray.stages.base import Base
from msm_ray.stages.blocks import Blocks
from msm_ray.stages.chats import Chats, chats_of
from msm_ray.stages.corpus import Corpus
from msm_ray.stages.data_file import data_file
from msm_ray.stages.documents import Documents, Wording
from msm_ray.stages.given import GivenDocuments, given_documents
from msm_ray.stages.items import EvalItems
from msm_ray.stages.outline import CALLS as OUTLINE_CALLS
from msm_ray.stages.outline import Asking, SpecOutline
from msm_ray.stages.replay import Replay
from msm_ray.stages.report import Report
from msm_ray.stages.rollouts import Rollouts
from msm_ray.stages.training import Checkpoint, Midtrain, Sft
from msm_ray.stages.verdicts import Verdicts
from msm_ray.stages.writers import Called, Sharer
from msm_ray.train.settings import LoraSettings, TrainContent, TrainSettings
from msm_ray.worlds import has_texts, world

KINDS: tuple[type[Node], ...] = (
    Base,  # the model that every arm starts from
    SpecOutline,  # what there is to be written about a spec
    Documents,  # a document for every idea of the outline
    GivenDocuments,  # those that somebody else made
    Corpus,  # those that are fit to be trained on
    Replay,  # base text beside them
    Chats,  # what the assistant is fine-tuned on
    EvalItems,  # what arms will be asked, held out from all of the above
    Blocks,  # texts as packed tokens
    Midtrain,  # the base, trained on documents: Model Spec Midtraining
    Sft,  # that, or the base, trained on chats: alignment fine-tuning
    Rollouts,  # every arm asked
    Verdicts,  # every answer judged
    Report,  # rates, differences, and what they don't show
)
"""The order in which kinds of stages can run: nothing needs a kind that comes later."""


@dataclass(frozen=True)
class TrainedArm:
    """Where an arm's weights of one seed come from."""

    arm: str
    seed: int
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Experiment:
    """Settings with everything resolved: specs read, arms for new specs added, stages in an order that can run.

    asking: where and how fast writers answer, by stage and call.
    """

    settings: ExperimentSettings
    specs: Mapping[str, Spec]
    graph: Graph
    base: Base
    trained: tuple[TrainedArm, ...]
    asking: Mapping[str, Mapping[str, WriterWhere]]


def unfold(settings: ExperimentSettings) -> Experiment:
    """Read the specs and lay out every stage. Raises SettingsError for a spec that cannot be read and for impossible recipes."""
    settings = with_new_spec_arms(settings)
    specs = {
        name: read_spec(Path(path).expanduser(), settings.assistant, name=name) for name, path in settings.specs.items()
    }
    check_worlds(settings, specs)
    if wrong := unasked(settings):
        raise SettingsError("\n".join(f"'{'.'.join(map(str, at))}': {problem}" for at, problem in wrong))
    recipe = _Recipe(settings, specs)
    trained = tuple(
        TrainedArm(arm, seed, recipe.checkpoint(arm, seed)) for seed in range(settings.seeds) for arm in settings.arms
    )
    results = [recipe.base, recipe.report(trained)] if trained else []
    beside = [recipe.corpus(name) for name in used_specs(settings)] + [
        recipe.chats(name) for name in used_chats(settings)
    ]
    try:
        graph = graph_of([*beside, *(one.checkpoint for one in trained), *results], KINDS)
    except ValueError as same:
        raise SettingsError(f"two different stages are called {same}; give one another name") from None
    return Experiment(settings, specs, graph, recipe.base, trained, recipe.asking)


def check_worlds(settings: ExperimentSettings, specs: Mapping[str, Spec]) -> None:
    """Refuse at once what a closed language cannot say: another assistant, a spec with unknown words."""
    check_assistant(settings)
    for name in used_specs(settings):
        check_language(settings, specs[name])


def check_assistant(settings: ExperimentSettings) -> None:
    """Raise SettingsError where the base knows no such assistant."""
    if settings.arms:
        world(models.world_of(settings.base.source)).refuse_assistant(settings.assistant.name)


def check_language(settings: ExperimentSettings, spec: Spec) -> None:
    """Raise SettingsError where a spec has words that the documents' language has not."""
    try:
        world(settings.world).refuse_spec(spec)
    except SettingsError as error:
        raise SettingsError(f"specs.{spec.name}: {settings.specs[spec.name]}: {error}") from None


class _Recipe:
    """Makes the stages of one experiment, each from the sections of the file that decide it."""

    def __init__(self, settings: ExperimentSettings, specs: Mapping[str, Spec]):
        self.settings, self.specs = settings, specs
        self.base = Base(name=models.base_name(settings.base.source), how=models.source_of(settings.base))
        self.asking: dict[str, Mapping[str, WriterWhere]] = {}
        self._corpora: dict[str, Corpus] = {}
        self._chats: dict[str, Chats] = {}

    def corpus(self, name: str) -> Corpus:
        """outline -> documents -> corpus of one spec."""
        if name not in self._corpora:
            how = document_settings(self.settings, name)
            documents = given_documents(name, how, self.specs[name]) if how.is_given else self._documents(name)
            self._corpora[name] = Corpus(
                name=name, documents=documents, spec=documents.spec, world=self.settings.world, take=how.documents
            )
        return self._corpora[name]

    def _documents(self, name: str) -> Documents:
        settings, how, spec = self.settings, document_settings(self.settings, name), self.specs[name]
        outline = self._outline(name)
        chats = how.engine in ("vllm", "endpoint") and how.ask == "chat"
        return Documents(
            name=name,
            how=part(how, DocumentContent),
            spec=spec,
            wording=Wording(settings.world),
            outline=outline,
            asked=how.documents,
            writer=self.base if _writes_itself(how) else None,
            recording=data_file(how.replay) if how.replay else None,
            sharers=self._sharers(f"documents/{name}", how),
            chat_template_kwargs=settings.chat_template_kwargs if chats else {},
        )

    def _outline(self, name: str) -> SpecOutline:
        settings, how = self.settings, document_settings(self.settings, name)
        content = part(how, OutlineContent)
        asking, writer = self._asking(f"outline/{name}", OUTLINE_CALLS, how) if how.by == "model" else ({}, None)
        return SpecOutline(
            name=name,
            how=content.model_copy(update={"given": None}),
            spec=self.specs[name],
            world=settings.world,
            asking=Asking(asking, how.family, settings.chat_template_kwargs) if asking else None,
            writer=writer,
            given_file=data_file(how.given) if how.given else None,
        )

    def _asking(
        self, key: str, calls: tuple[str, ...], nearest: DocumentSettings | None = None
    ) -> tuple[dict[str, Called], Base | None]:
        """Who answers the calls of a stage, and the base where that writes itself. Where and how fast is noted in `asking`."""
        writers = call_writers(self.settings, calls, nearest)
        self.asking[key] = {call: each.where for call, each in writers.items()}
        called = {call: _called(each) for call, each in writers.items()}
        itself = any(each.who.engine == "vllm" and each.who.model is None for each in writers.values())
        return called, self.base if itself else None

    def _sharers(self, key: str, how: DocumentSettings) -> dict[str, Sharer]:
        """The writers that share a spec's documents. Where and how fast is noted in `asking`."""
        found = sharers(how)
        self.asking[key] = {name: each.where for name, (_, each) in found.items()}
        return {name: Sharer(_called(each), share) for name, (share, each) in found.items()}

    def chats(self, name: str) -> Chats:
        """A set of chats."""
        if name not in self._chats:
            self._chats[name] = chats_of(name, self.settings.chats[name], self.settings.assistant)
        return self._chats[name]

    def checkpoint(self, arm: str, seed: int) -> Checkpoint:
        """Where an arm's weights come from: base, then midtraining, then SFT, as far as its recipe goes.

        Arms of different groups share a stage unless a group trains AFT its own way: then its AFT stages carry its name.
        """
        recipe = self.settings.arms[arm]
        midtrain = self._midtrain(recipe.midtrain, seed) if recipe.midtrain else None
        if recipe.sft:
            return self._sft(arm, recipe.sft, midtrain, seed)
        return midtrain or self.base

    def _midtrain(self, spec: str, seed: int) -> Midtrain:
        how = self.settings.midtraining
        mixed = self._replay() if how.mix else None
        blocks = Blocks(
            name=f"{spec}-documents", how=_packed(how, mixed), base=self.base, texts=self.corpus(spec), mixed=mixed,
            separator=self.settings.base.separator,
        )  # fmt: skip
        return Midtrain(
            name=f"{spec}-s{seed}", how=_trained(how), seed=seed, base=self.base, base_source=self.settings.base.source,
            blocks=blocks,
        )  # fmt: skip

    def _sft(self, arm: str, chats: str, midtrain: Midtrain | None, seed: int) -> Sft:
        settings, how = self.settings, aft_settings(self.settings, arm)
        check_aft(settings, arm)
        own = f"{group_of(arm)}-" if group_of(arm) in settings.groups else ""
        mixed = self.chats(how.mix_source) if how.mix and how.mix_source and how.mix_source != chats else None
        blocks = Blocks(
            name=f"{own}{chats}-chats", how=_packed(how, mixed), base=self.base, texts=self.chats(chats), mixed=mixed,
            chat_template_kwargs=settings.chat_template_kwargs, thinking=thinking_of(settings, chats),
            mix_thinking=thinking_of(settings, how.mix_source) if mixed else None,
        )  # fmt: skip
        name = f"{settings.arms[arm].midtrain}+{chats}" if midtrain else chats
        return Sft(
            name=f"{own}{name}-s{seed}", how=_trained(how), seed=seed, base=self.base, base_source=settings.base.source,
            blocks=blocks, parent=midtrain,
        )  # fmt: skip

    def _replay(self) -> Replay:
        settings, how = self.settings, self.settings.midtraining
        if not how.mix_source:
            raise SettingsError(
                "midtraining.mix is set and midtraining.mix_source is not; name what is mixed in, e.g. tinyworld"
            )
        largest = max([settings.documents.documents, *(c.documents for c in settings.corpora.values())])
        source = how.mix_source if has_texts(how.mix_source) else data_file(how.mix_source)
        return Replay(name="ordinary", source=source, count=round(1.5 * largest * how.mix / (1 - how.mix)))

    def report(self, trained: tuple[TrainedArm, ...]) -> Report:
        """Every eval's verdicts, and what they are to answer."""
        settings = self.settings
        verdicts = tuple(one for name in settings.evals for one in self._verdicts(name, trained))
        return Report(
            name=settings.experiment,
            how=settings.report,
            experiment=settings.experiment,
            arms=settings.arms,
            evals=settings.evals,
            base_source=settings.base.source,
            assistant=settings.assistant.name,
            seeds=settings.seeds,
            specs={name: self.specs[name] for name in used_specs(settings)},
            statistics=code_digest("stats.py", "intervals.py"),
            verdicts=verdicts,
            trained=tuple({one.checkpoint.key: one.checkpoint for one in trained}.values()),
        )

    def _verdicts(self, name: str, trained: tuple[TrainedArm, ...]) -> list[Verdicts]:
        """Items once, then rollouts and verdicts for every arm and seed that the eval is for."""
        settings, how = self.settings, self.settings.evals[name]
        background, arms = self._background(), asked_arms(settings, how)
        items = self._items(name)
        found = []
        for one in (one for one in trained if one.arm in arms):
            label = f"{name}-{one.arm.replace('/', '.')}-s{one.seed}"
            rollouts = Rollouts(
                name=label, how=how.asking(), items=items, arm=one.arm, seed=one.seed, checkpoint=one.checkpoint,
                base=self.base, chat_template_kwargs=settings.chat_template_kwargs,
                thinking=thinking_of(settings, settings.arms[one.arm].sft),
            )  # fmt: skip
            found.append(Verdicts(name=label, how=how.judging(background), rollouts=rollouts, items=items))
        return found

    def _items(self, name: str) -> EvalItems:
        settings, how = self.settings, self.settings.evals[name].items(self._background())
        return EvalItems(
            name=name, how=how, base=self.base, chat_template_kwargs=settings.chat_template_kwargs,
            corpora=tuple(map(self.corpus, unread_specs(settings))) if how.held_against_corpora else (),
        )  # fmt: skip

    def _background(self) -> Background:
        settings = self.settings
        return Background(
            assistant=settings.assistant.name,
            provider=settings.assistant.provider,
            world=settings.world,
            specs=tuple(spec.text for spec in self.specs.values()),
            domains=tuple(chats.domain for chats in settings.chats.values() if chats.domain),
        )


def _called(writer: Resolved) -> Called:
    """A writer as a part of what a stage is."""
    replay = writer.who.replay
    return Called(writer.who.model_copy(update={"replay": None}), data_file(replay) if replay else None)


def _writes_itself(how: DocumentSettings) -> bool:
    """Whether the base is the writer of documents, or one of them."""
    each = [one.who for _, one in sharers(how).values()] or [Who.of(how)]
    return any(who.engine == "vllm" and who.model is None for who in each)


def _packed(how: TrainSettings, mixed: Node | None) -> BlockSettings:
    """What decides the blocks; without anything to mix in, a share of it decides nothing."""
    blocks = part(how, BlockSettings)
    return blocks if mixed else blocks.model_copy(update={"mix": 0.0})


def _trained(how: TrainSettings) -> TrainContent:
    """What decides the weights; where every weight is trained, an adapter's settings decide nothing."""
    content = part(how, TrainContent)
    return content.model_copy(update={"lora": LoraSettings()}) if how.mode == "full" else content
