"""CPUs, GPUs, memory and disk, stage by stage, against this machine or what `cluster:` says of another."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from msm_ray import machine, placement, ray_session, storage
from msm_ray.config import ExperimentSettings
from msm_ray.config.recipes import document_settings, written_specs
from msm_ray.models import is_shipped
from msm_ray.placement.settings import WorkerSettings
from msm_ray.preflight import block_room, memory
from msm_ray.preflight.base import base_folder, base_shape, cached
from msm_ray.preflight.checkpoints import forms
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.memory import GIB, Need
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.shapes import Shape, shape_of
from msm_ray.preflight.training import Training, trainings
from msm_ray.storage.copies import CACHE

STAGES = {
    "generation": ("outline", "documents", "rewrites", "written-chats", "chats"),
    "training": ("midtrain", "sft"),
    "serving": ("rollouts",),
}
"""Kinds of stages that each section of `cluster:` is for."""
RELEASED_RANK = 64
"""Of the adapters that the paper's authors released."""


def placements(proposal: Proposal) -> Iterator[Finding]:
    """What the stages ask for has room on this machine; a cluster that runs already is looked at when the run connects."""
    settings = proposal.settings
    if "RAY_ADDRESS" in os.environ:
        return
    here = placement.this_machine(settings.cluster)
    for asked in placement.placements(settings, needed_kinds(settings)):
        problem = placement.shortfall(asked, [here])
        if problem:
            cpus = asked.total.get("CPU", 0) > settings.cluster.cpus
            at = ("cluster", "cpus") if cpus else ("cluster", asked.stage)
            remedy = placement.remedy_here(asked, settings.cluster)
            yield proposal.lacking(at, problem, remedy, stages=STAGES[asked.stage])


def this_machine(proposal: Proposal) -> Iterator[Finding]:
    """Disk, and where no cluster is named, memory and /dev/shm."""
    settings, alone = proposal.settings, "RAY_ADDRESS" not in os.environ
    root = storage.local(storage.place(settings.root))
    small = settings.cluster if alone else settings.cluster.model_copy(update={"least_memory_gib": 0})
    writes = any(how.engine == "vllm" for _, how in proposal.documents())
    engines = alone and (writes or bool(settings.evals))
    for problem in machine.lacking(machine.look(root), small, root, engines=engines):
        what, _, remedy = problem.partition("; ")
        least = re.search(r"cluster\.(\w+)", what)
        at = ("cluster", least[1]) if least else ("cluster",)
        yield proposal.lacking(at, what, remedy, stages=() if least else (*STAGES["generation"], "rollouts"))


def places(proposal: Proposal) -> Iterator[Finding]:
    """The root and the folder for temporary files."""
    root, cluster = storage.local(storage.place(proposal.settings.root)), "RAY_ADDRESS" in os.environ
    if cluster and not root.is_absolute():
        yield proposal.warning(
            ("root",), f"'{root}' is relative, and a submitted job's working directory is Ray's own: it goes with the session",
            "give a whole path to a folder that every node sees",
        )  # fmt: skip
    if not cluster:
        yield from proposal.tried((), ray_session.socket_folder)[1]
    above = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    if not above.is_dir():
        yield proposal.error(("root",), f"{above} is a file", "give root=FOLDER")
    elif not os.access(above, os.W_OK | os.X_OK):
        yield proposal.lacking(("root",), f"nothing can be written below {above}", "give another root=FOLDER")


def other_writer(proposal: Proposal) -> Iterator[Finding]:
    """A run that is writing below the root: a plan may look on, a second run is refused when it takes the root's lock."""
    lock = storage.local(storage.place(proposal.settings.root)) / ".lock"
    said = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
    match = re.fullmatch(r"process (\d+) on (.*)", said.strip())
    if match and match[2] == platform.node() and int(match[1]) != os.getpid() and psutil.pid_exists(int(match[1])):
        yield proposal.warning(
            ("root",), f"another msm run may be writing there ({said.strip()})", "wait for it, or give root=FOLDER"
        )


def training_memory(proposal: Proposal) -> Iterator[Finding]:
    """Weights, gradients, optimizer, activations and logits of a rank against its GPU, or all ranks' against this machine."""
    cluster = proposal.settings.cluster
    ways = {training.at: training for training in proposal.once(trainings)}
    shape = proposal.once(base_shape)
    if not ways:
        return
    if shape is None:
        yield _unknown(proposal, "a training's memory is not estimated")
        return
    for training in ways.values():
        need = memory.training(shape, training.how, cluster.training.workers)
        asker = ".".join(map(str, training.at))
        yield from _fits(proposal, asker, "training", cluster.training, need, 1.0, _spare(training), (training.kind,))


def engine_memory(proposal: Proposal) -> Iterator[Finding]:
    """Weights, adapters and the cache of one request of full length, of the writer's and the serving engines on GPUs."""
    settings = proposal.settings
    cluster = settings.cluster
    for _, at, how in proposal.written():
        if how.engine == "vllm" and cluster.generation.gpus:
            shape = _writer_shape(how.model) if how.model else proposal.once(base_shape)
            if shape is None:
                yield proposal.not_checked(
                    (*at, "model"), "its shape is not known here, so the writer's memory is not estimated"
                )
            else:
                yield from _engine(proposal, "generation", cluster.generation, shape, 0, 1, STAGES["generation"])
    shape = proposal.once(base_shape)
    if settings.evals and cluster.serving.gpus and shape is not None:
        lora = [training.how.lora.r for training in proposal.once(trainings) if training.how.mode == "lora"]
        given = proposal.once(forms)
        arms = (len(settings.arms) - len(given)) * settings.seeds if lora else 0
        # Of what is not here to be looked at, the paper's form is expected: a LoRA adapter of rank 64.
        ranks = [form.rank if form else RELEASED_RANK for form in given.values() if form is None or form.adapter]
        arms, lora = arms + len(ranks), lora + ranks
        yield from _engine(proposal, "serving", cluster.serving, shape, arms, max(lora, default=1), ("rollouts",))


def disk(proposal: Proposal) -> Iterator[Finding]:
    """Base, blocks, checkpoints of the training under way and all exports against what is free at the root."""
    shape, settings = proposal.once(base_shape), proposal.settings
    if shape is None or is_shipped(settings.base.source):
        return
    parts = {"base": shape.parameters * (4.0 if settings.base.source == "smollm2" else 2.0)}
    largest, exports = 0.0, 0.0
    for training in proposal.once(trainings):
        how = training.how
        number = 2 if how.precision == "bf16" else 4
        trained = shape.parameters if how.mode == "full" else shape.adapter(how.lora.r, how.lora.targets)
        largest = max(largest, 3.0 * trained * (number + 12))  # two are kept while the next is written
        exports += trained * number * settings.seeds * _recipes(settings, training)
    full = [form for form in proposal.once(forms).values() if form and not form.adapter]
    given = len(full) * shape.parameters * 2.0  # adapters are small beside them
    blocks = block_room.below_root(proposal.once(trainings))
    need = Need(parts | {"checkpoints": largest, "exports": exports, "given": given, "blocks": blocks})
    root = storage.local(storage.place(settings.root))  # of a bucket: copies and what is being made
    free, there = machine.look(root).disk_gib, _written(root) / GIB
    if need.total > (free + there) * GIB:
        begun = f", {there:,.0f} are there" if there >= 1 else ""
        yield proposal.lacking(
            ("root",),
            f"about {need.total / GIB:,.0f} GiB are needed ({need}){begun} and {free:,.0f} GiB are free at {root}",
            _other_place(settings.root), stages=("base", "blocks", "checkpoint", *STAGES["training"]),
        )  # fmt: skip


def _other_place(root: str) -> str:
    in_bucket = not isinstance(storage.place(root), Path)
    return f"make room, or name a folder on a larger disk by {CACHE}" if in_bucket else "make room, or give root=FOLDER"


def _written(root: Path) -> int:
    """Bytes of bases, blocks, checkpoints and exports that a root holds already."""
    kinds = ("base", "blocks", "checkpoint", *STAGES["training"])
    return sum(path.stat().st_size for kind in kinds for path in (root / kind).rglob("*") if path.is_file())


def needed_kinds(settings: ExperimentSettings) -> set[str]:
    """The kinds of stages that ask for workers and that this experiment has."""
    recipes = settings.arms.values()
    midtrained = {recipe.midtrain for recipe in recipes if recipe.midtrain}
    kinds = {"midtrain"} if midtrained else set()
    if any(not document_settings(settings, spec).is_given for spec in written_specs(settings)):
        kinds |= {*STAGES["generation"]}
    kinds |= {"sft"} if any(recipe.sft for recipe in recipes) else set()
    return kinds | ({"rollouts"} if settings.evals else set())


def _recipes(settings: ExperimentSettings, training: Training) -> int:
    """How many checkpoints of one seed a way of training makes."""
    if training.kind == "midtrain":
        return 1
    return len({recipe.midtrain for recipe in settings.arms.values() if recipe.sft == training.name})


def _engine(
    proposal: Proposal,
    section: str,
    workers: WorkerSettings,
    shape: Shape,
    adapters: int,
    rank: int,
    stages: tuple[str, ...],
) -> Iterator[Finding]:
    length = workers.max_model_len or shape.length
    need = memory.engine(shape, length, workers.tensor_parallel, adapters, rank)
    remedy = "share the engine among more GPUs (tensor_parallel, gpus), lower max_model_len, or take a larger card"
    yield from _fits(proposal, section, section, workers, need, memory.ENGINE_SHARE, remedy, stages)


def _fits(
    proposal: Proposal, asker: str, section: str, workers: WorkerSettings, need: Need, share: float, remedy: str,
    stages: tuple[str, ...],
) -> Iterator[Finding]:  # fmt: skip
    """asker: the section that needs the memory; section: of `cluster:`, where its workers are described."""
    at = ("cluster", section)
    if not workers.gpus:
        yield from _fits_here(proposal, asker, section, workers, need, remedy, stages)
        return
    card = workers.gpu_memory_gib or memory.CARDS.get(workers.accelerator or "")
    if card is None:
        yield proposal.not_checked(
            at, f"{asker} needs about {need.total / GIB:,.0f} GiB of each GPU ({need}), and which GPU it is, is not known",
            "set accelerator, or gpu_memory_gib",
        )  # fmt: skip
    elif need.total > share * card * GIB:
        yield proposal.error(
            at, f"{asker} needs about {need.total / GIB:,.0f} GiB of each GPU ({need}), and the {workers.accelerator or 'card'} "
            f"has {card:g}" + (f", {share * card:.0f} of them to use" if share < 1 else ""), remedy,
        )  # fmt: skip


def _fits_here(
    proposal: Proposal,
    asker: str,
    section: str,
    workers: WorkerSettings,
    need: Need,
    remedy: str,
    stages: tuple[str, ...],
) -> Iterator[Finding]:
    """Ranks on CPUs share this machine's memory, where no cluster is named."""
    if "RAY_ADDRESS" in os.environ or section != "training":
        return
    there, total = (
        machine.look(storage.local(storage.place(proposal.settings.root))).memory_gib,
        (need.total - memory.RUNTIME) * workers.workers,
    )
    if total > there * GIB:
        yield proposal.lacking(
            ("cluster", section), f"{asker}: {workers.workers} ranks need about {total / GIB:,.0f} GiB of memory ({need} each), "
            f"this machine has {there:.0f}", f"{remedy}, or take a larger machine or GPUs", stages=stages,
        )  # fmt: skip


def _spare(training: Training) -> str:
    """What would make a training smaller, in the order of what it costs."""
    how, where = training.how, ".".join(map(str, training.at))
    ways = [] if how.activation_checkpointing else [f"{where}.activation_checkpointing: true"]
    ways += [f"{where}.micro_batch: 1"] if how.micro_batch > 1 else []
    ways += [f"{where}.zero_stage: 3 with more workers"] if how.zero_stage < 3 else ["more workers"]
    return f"set {', then '.join(ways)}; or take a larger card"


def _writer_shape(model: str) -> Shape | None:
    return shape_of(model, Path(model) if Path(model).is_dir() else cached(model))


def _unknown(proposal: Proposal, so: str) -> Finding:
    folder = proposal.once(base_folder)
    why = "its config.json is no decoder's that is known here" if folder else "its shape is not known here"
    return proposal.not_checked(("base", "source"), f"{proposal.settings.base.source}: {why}, so {so}")
