"""The story of the method: the kinds of stages in the order in which they run, and how an experiment unfolds into them.

::

    base ─┬───────────────┬───────────┬──────────────────────────┬─────────────────────────────┐
    spec ─┴ outline ─ documents ─ (rewrites) ─ corpus ─┐         │                             │
                                           replay ────┴─ blocks ─┴ midtrain ─┐                 │
                          chats (+ ordinary chats) ───── blocks ─────────────┴ sft ─┐          │
                                                             checkpoint (given) ────┤
                                                          items (one per eval) ─────┴ rollouts ┴ verdicts ─ report

Each kind is one file in `stages/`. Arms share a stage by being equal there: what is common is made once. Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msm_ray.config import ExperimentSettings
from msm_ray.config.languages import check_worlds
from msm_ray.config.names import unasked
from msm_ray.config.recipes import (
    seeded_arms,
    used_chats,
    used_specs,
    with_new_spec_arms,
)
from msm_ray.errors import SettingsError
from msm_ray.generate.writer_settings import WriterWhere
from msm_ray.graph.node import Graph, Node, graph_of
from msm_ray.spec import Spec, read_spec
from msm_ray.stages.base import Base
from msm_ray.stages.blocks import Blocks
from msm_ray.stages.chats import Chats
from msm_ray.stages.corpus import Corpus
from msm_ray.stages.documents import Documents
from msm_ray.stages.given import GivenDocuments
from msm_ray.stages.given_checkpoint import GivenCheckpoint
from msm_ray.stages.items import EvalItems
from msm_ray.stages.outline import SpecOutline
from msm_ray.stages.replay import Replay
from msm_ray.stages.report import Report
from msm_ray.stages.rewrites import Rewrites
from msm_ray.stages.rollouts import Rollouts
from msm_ray.stages.training import Midtrain, Sft
from msm_ray.stages.verdicts import Verdicts
from msm_ray.stages.written_chats import ChatWriting
from msm_ray.unfolding.arms import ArmStages, TrainedArm
from msm_ray.unfolding.data import DataStages
from msm_ray.unfolding.report import ReportStages

KINDS: tuple[type[Node], ...] = (
    Base,  # the model that every arm starts from
    SpecOutline,  # what there is to be written about a spec
    Documents,  # a document for every idea of the outline
    GivenDocuments,  # those that somebody else made
    Rewrites,  # documents told in another way, for ablations, or mended
    Corpus,  # those that are fit to be trained on
    Replay,  # base text beside them
    ChatWriting,  # questions about a spec, and how the assistant would answer
    Chats,  # what the assistant is fine-tuned on
    EvalItems,  # what arms will be asked, held out from all of the above
    Blocks,  # texts as packed tokens
    GivenCheckpoint,  # weights that somebody else trained
    Midtrain,  # the base, trained on documents: Model Spec Midtraining
    Sft,  # that, or the base, trained on chats: alignment fine-tuning
    Rollouts,  # every arm asked
    Verdicts,  # every answer judged
    Report,  # rates, differences, and what they don't show
)
"""The order in which kinds of stages can run: nothing needs a kind that comes later."""


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
    data = DataStages(settings, specs)
    arms = ArmStages(data)
    trained = tuple(
        TrainedArm(arm, seed, arms.checkpoint(arm, seed))
        for seed in range(settings.seeds)
        for arm in seeded_arms(settings, seed)
    )
    results = [data.base, ReportStages(data).report(trained)] if trained else []
    beside = [data.corpus(name) for name in used_specs(settings)] + [data.chats(name) for name in used_chats(settings)]
    try:
        graph = graph_of([*beside, *(one.checkpoint for one in trained), *results], KINDS)
    except ValueError as same:
        raise SettingsError(f"two different stages are called {same}; give one another name") from None
    return Experiment(settings, specs, graph, data.base, trained, data.asking)
