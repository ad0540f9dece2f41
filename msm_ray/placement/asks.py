"""Bundles of logical CPUs and GPUs: what each stage asks for, and whether nodes could hold it. Imports no Ray."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msm_ray.placement.settings import ClusterSettings, GenerationSettings, ServeSettings, WorkerSettings

if TYPE_CHECKING:
    from msm_ray.config import ExperimentSettings

Bundle = dict[str, float]
"""A Ray resource request: `{"CPU": 2, "GPU": 1, "accelerator_type:H200": 0.001}`."""

KIND = "accelerator_type:"
SHARE = 0.001
"""Ray gives a node one of its GPUs' kind as a resource; what runs there takes a thousandth of it (Ray's own convention)."""

ABOUT_SPECS, CHATS = {"outline", "documents", "rewrites"}, {"written-chats", "chats"}
"""Kinds of stages that ask writers."""
ASKER_CPUS = 0.5
"""Of each process that asks the served arms: it waits more than it works."""


@dataclass(frozen=True)
class Placement:
    """What a stage asks for at once.

    stage: the section of `cluster:` that decides it. unit: what one of the `count` equal parts is called; bundles: of one
    part, all on one node; beside: bundles that go anywhere (Ray Data's tasks, the HTTP face, askers). minutes: how long
    room is waited for.
    """

    stage: str
    unit: str
    count: int
    bundles: tuple[Bundle, ...]
    beside: tuple[Bundle, ...] = ()
    minutes: float = 30

    @property
    def each(self) -> Bundle:
        """The resources of one part."""
        return _sum(self.bundles)

    @property
    def total(self) -> Bundle:
        """The resources of all of it."""
        return _sum([*self.bundles * self.count, *self.beside])

    def __str__(self) -> str:
        kind = "".join(f" of kind {name.removeprefix(KIND)}" for name in self.each if name.startswith(KIND))
        gpus = f"{_many(self.each['GPU'], 'GPU')}{kind} and " if "GPU" in self.each else ""
        together = " on one node" if len(self.bundles) > 1 else ""
        return f"{_many(self.count, self.unit)} of {gpus}{_many(self.each.get('CPU', 0), 'logical CPU')}{together}"


@dataclass(frozen=True)
class Node:
    """A node, or a kind of node of which there may be `count`."""

    resources: Mapping[str, float]
    count: int = 1

    def holds(self, asked: Mapping[str, float]) -> int:
        """How many such requests fit on one of these nodes, were it empty."""
        return min(
            (math.floor(self.resources.get(kind, 0) / much + 1e-9) for kind, much in asked.items() if much), default=0
        )


def engine_bundles(workers: WorkerSettings) -> list[Bundle]:
    """The bundles of one vLLM engine: one for each GPU, since vLLM refuses one that holds more than a GPU.

    A worker's CPUs are shared out over them; the first holds what is left over, and at least the one logical CPU of the
    process that owns the engine.
    """
    each = workers.cpus // workers.tensor_parallel
    first = max(workers.cpus - each * (workers.tensor_parallel - 1), 1)
    return [_bundle(cpus, workers, 1) for cpus in (first, *[each] * (workers.tensor_parallel - 1))]


def rank_bundle(workers: WorkerSettings) -> Bundle:
    """The bundle of one rank of a training."""
    return _bundle(workers.cpus, workers, workers.gpus)


def generation(workers: GenerationSettings, engines: Iterable[str]) -> Placement:
    """For the engine that asks for most. engines: their names."""
    asked = [_writing(workers, engine) for engine in engines]
    return max(asked, key=lambda one: (one.total.get("GPU", 0), one.total.get("CPU", 0)))


def _writing(workers: GenerationSettings, engine: str) -> Placement:
    task = {"CPU": 1.0}  # Ray Data's own: reading and preparing rows
    if engine == "vllm":
        bundles = tuple(engine_bundles(workers))
        return Placement("generation", "engine", workers.first_workers, bundles, (task,), workers.placement_minutes)
    if engine == "endpoint":
        asker = ({"CPU": workers.cpus},)
        return Placement("generation", "asker", workers.workers, asker, (task,), workers.placement_minutes)
    return Placement("generation", "writer", 1, (task,), minutes=workers.placement_minutes)


def training(workers: WorkerSettings) -> Placement:
    """For one worker group. Ray Train's controller takes no logical CPU."""
    return Placement("training", "rank", workers.workers, (rank_bundle(workers),), minutes=workers.placement_minutes)


def serving(settings: ServeSettings) -> Placement:
    """For the engines, the HTTP face and the processes that ask. Serve's controller and proxies take no logical CPU."""
    beside = ({"CPU": 1.0}, *[{"CPU": ASKER_CPUS}] * settings.askers)
    bundles = tuple(engine_bundles(settings))
    return Placement("serving", "engine", settings.workers, bundles, beside, settings.placement_minutes)


def placements(settings: ExperimentSettings, kinds: Collection[str]) -> list[Placement]:
    """What the stages of these kinds (`documents`, `midtrain`, `rollouts`, ..., or `serve` for the command) ask for."""
    cluster, asked = settings.cluster, []
    if engines := writing_engines(settings, kinds):
        asked.append(generation(cluster.generation, engines))
    if {"midtrain", "sft"} & set(kinds):
        asked.append(training(cluster.training))
    if {"rollouts", "serve"} & set(kinds):
        asked.append(serving(cluster.serving))
    return asked


def writing_engines(settings: ExperimentSettings, kinds: Collection[str]) -> list[str]:
    """The engines that write for the stages of these kinds; none where these write nothing."""
    found: list[str] = []
    if ABOUT_SPECS & set(kinds):
        for how in (settings.corpora.get(spec, settings.documents) for spec in settings.specs):
            if not how.is_given:
                found += [own.engine or how.engine for own in how.writers.values()] or [how.engine]
    if CHATS & set(kinds) and any(how.source == "written" or how.conflicts_with for how in settings.chats.values()):
        shared = settings.writer if "writer" in settings.model_fields_set else settings.documents
        found.append(shared.engine)
    return found + [own.engine for own in settings.writer.calls.values() if found and own.engine]


def this_machine(cluster: ClusterSettings) -> Node:
    """The node that a Ray of our own would be: `cluster.cpus` logical CPUs, and the GPUs that are visible here.

    Of which kind they are is known to Ray alone: here they count as the kinds that the stages ask for.
    """
    stages = (cluster.generation, cluster.training, cluster.serving)
    gpus = _gpus_here()
    kinds = {f"{KIND}{stage.accelerator}": 1 for stage in stages if stage.accelerator and gpus}
    return Node({"CPU": cluster.cpus, "GPU": gpus, **kinds})


def shortfall(asked: Placement, nodes: Sequence[Node]) -> str:
    """Why these nodes, all of them empty, can't hold what is asked for at once; an empty text where they can."""
    for kind, called in (("CPU", "logical CPUs"), ("GPU", "GPUs")):
        needed = asked.total.get(kind, 0)
        there = sum(node.count * node.resources.get(kind, 0) for node in nodes)
        if needed > there:
            return f"{asked.stage} needs {needed:g} {called} ({asked}), there are {there:g}"
    room = sum(node.count * node.holds(asked.each) for node in nodes)
    if room < asked.count:
        return f"{asked.stage} asks for {asked}, there is room for {room}: {describe(nodes)}"
    return ""


def short_here(cluster: ClusterSettings, asked: Iterable[Placement]) -> list[str]:
    """What a Ray of our own on this machine can't hold, a line each with what to do."""
    problems = [(one, shortfall(one, [this_machine(cluster)])) for one in asked]
    return [f"{problem}. {remedy_here(one, cluster)}" for one, problem in problems if problem]


def remedy_here(asked: Placement, cluster: ClusterSettings) -> str:
    """What to do where a Ray of our own on this machine can't hold what is asked for."""
    cpus = math.ceil(asked.total.get("CPU", 0))
    if cluster.cpus < cpus:
        return f"Set cluster.cpus={cpus} (it is {cluster.cpus}; logical CPUs may exceed cores), or lower cluster.{asked.stage}"
    return f"Lower cluster.{asked.stage} to this machine's GPUs, or run on a cluster (docs/clusters.md)"


def describe(nodes: Sequence[Node]) -> str:
    """The nodes in words, those without a GPU counted together: `2 x 96 CPUs, 8 GPUs (A100); 1 x 4 CPUs`."""
    counted: dict[str, int] = {}
    for node in nodes:
        kinds = ", ".join(sorted(name.removeprefix(KIND) for name in node.resources if name.startswith(KIND)))
        gpus = f", {node.resources['GPU']:g} GPUs ({kinds or 'kind unknown'})" if node.resources.get("GPU") else ""
        words = f"{node.resources.get('CPU', 0):g} CPUs{gpus}"
        counted[words] = counted.get(words, 0) + node.count
    return "; ".join(f"{count} x {words}" for words, count in counted.items()) or "no nodes"


def _many(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("" if number == 1 else "s")


def _bundle(cpus: float, workers: WorkerSettings, gpus: float) -> Bundle:
    bundle: Bundle = {"CPU": cpus} if cpus else {}
    if not workers.gpus:
        return bundle
    kind = {f"{KIND}{workers.accelerator}": SHARE} if workers.accelerator else {}
    return bundle | {"GPU": gpus} | kind


def _sum(bundles: Iterable[Bundle]) -> Bundle:
    total: Bundle = {}
    for bundle in bundles:
        for kind, much in bundle.items():
            total[kind] = total.get(kind, 0) + much
    return total


def _gpus_here() -> int:
    """NVIDIA devices of this machine or container, those that CUDA_VISIBLE_DEVICES hides left out."""
    devices = len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdecimal()])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return devices if visible is None else min(devices, len([name for name in visible.split(",") if name.strip()]))
