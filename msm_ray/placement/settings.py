"""Where the work runs: workers, GPUs, addresses. Never part of what is made, nor of any fingerprint."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from msm_ray.settings_base import Count, GiB, Minutes, Requests, Share, Strict, Unit

ACCELERATORS = (
    "V100", "P100", "T4", "P4", "K80", "A10G", "L4", "L40S", "A100", "A100-40G", "A100-80G", "H100", "H200", "H20", "B200",
    "B300", "GB200", "GB300", "RTX-PRO-6000",
)  # fmt: skip
"""Ray's names of NVIDIA's cards (`ray.util.accelerators`): what a node with one tells of itself."""


class GpuSettings(Strict):
    """Which GPU a stage runs on."""

    accelerator: str | None = None
    """Ray's name of the card, such as H100 or A100-80G: only nodes with it are taken. None: the cluster's, else any card."""
    gpu_memory_gib: GiB | None = None
    """Memory of one card, which plans are checked against. None: the cluster's, else unknown and not checked."""

    @field_validator("accelerator")
    @classmethod
    def card_is_known(cls, name: str | None) -> str | None:
        """A misspelt card would be waited for until the wait is over."""
        if name is not None and name not in ACCELERATORS:
            raise ValueError(f"no card that Ray knows by this name; its names are {', '.join(ACCELERATORS)}")
        return name


class WorkerSettings(GpuSettings):
    """What one worker of a stage takes from the cluster: an engine, or a rank of a training."""

    workers: Count = 1
    """Engines, or ranks of a training."""
    cpus: Annotated[float, Field(gt=0), Unit("logical CPUs")] = 1
    """Of one worker, whole."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Of one worker: 0, or as many as share its engine. Paper: training took 1 H200 (8B), 2 (14B), 4 (32B)."""
    tensor_parallel: Annotated[int, Field(gt=0), Unit("GPUs")] = 1
    """GPUs that share one engine."""
    max_model_len: Annotated[int, Field(gt=0), Unit("tokens")] | None = None
    """Longest prompt and answer together that an engine takes. None: what the model takes."""
    max_num_seqs: Requests = 64
    """Requests that an engine works on at the same time; more is faster and takes more memory."""
    memory_gib: GiB = 1
    """Key-value cache of an engine on the CPU."""
    placement_minutes: Minutes = 30
    """How long a stage waits for room on the cluster, an autoscaler's nodes included, before it ends with a message."""

    @model_validator(mode="after")
    def engines_take_their_gpus(self) -> WorkerSettings:
        """vLLM takes as many GPUs as share the engine, neither more nor fewer."""
        if self.gpus not in (0, self.tensor_parallel) or self.tensor_parallel > 1 > self.gpus:
            raise ValueError(
                f"tensor_parallel: {self.tensor_parallel} with gpus: {self.gpus}: a worker on GPUs takes as many as share its "
                f"engine; set gpus: {self.tensor_parallel}"
                + (f", or tensor_parallel: {self.gpus}" if self.gpus else ", or tensor_parallel: 1 on CPUs")
            )
        return self


class GenerationSettings(WorkerSettings):
    """Engines that write and judge: one pool for each model of a run, loaded once."""

    least_workers: Annotated[int, Field(gt=0), Unit("engines")] | None = None
    """Engines that have to have room before writing begins; up to `workers` join as the cluster grows and there is work for them.
    None: all `workers`."""
    idle_minutes: Minutes = 10
    """Engines that were not needed for so long end and give their place back, without work all of a model; they start anew when
    there is work again."""
    engine_deaths: Annotated[int, Field(ge=0), Unit("times")] = 10
    """How often an engine of a model may die, or not start, before the stage ends with its last words. Until then it is replaced,
    and what it was asked goes to others."""

    @model_validator(mode="after")
    def least_is_no_more_than_all(self) -> GenerationSettings:
        """More than the most could never be there."""
        if self.least_workers is not None and self.least_workers > self.workers:
            raise ValueError(f"least_workers: {self.least_workers} is more than workers: {self.workers}")
        return self

    @property
    def first_workers(self) -> int:
        """Engines that writing begins with."""
        return self.least_workers or self.workers


class ServeSettings(WorkerSettings):
    """Serving the arms, and asking them."""

    host: str | None = None
    """Address that the server listens on; none: loopback on one machine, the head node's own on a cluster of several nodes.

    An address that others can reach requires a key: that of `MSM_SERVE_KEY`, or one that the run makes."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port that the server listens on; 0 takes a free one."""
    connections: Requests = 64
    """Requests in flight while an eval asks."""
    askers: Annotated[int, Field(gt=0), Unit("processes")] = 1
    """Processes that ask; Inspect takes about 17 ms of CPU a rollout."""
    request_seconds: Annotated[int, Field(gt=0), Unit("s")] = 300
    """A request is given up, and asked again, after so long."""
    up_minutes: Annotated[float, Field(gt=0), Unit("min")] = 60
    """A server that is not up within these (weights loaded, arms checked) ends the stage with its account."""
    most_refused: Share = 0.05
    """Share of the rollouts that the server may refuse for their own sake (too long); more ends the run with exit code 4."""
    probes: Annotated[int, Field(gt=0), Unit("prompts")] = 8
    """Prompts on which a served arm has to differ from the base, so that an adapter is really applied."""


class ClusterSettings(GpuSettings):
    """Where the work runs; never part of a fingerprint. `accelerator` and `gpu_memory_gib` here are for every stage that takes
    GPUs and names none of its own.
    """

    cpus: Annotated[int, Field(gt=0), Unit("logical CPUs")] = 8
    """Logical CPUs of a local Ray, which may be more than there are cores; a job on a cluster ignores it."""
    object_store_gib: GiB = 1
    """Shared memory of a local Ray."""
    nodes_max: Annotated[int, Field(gt=0), Unit("nodes")] | None = None
    """Nodes that the cluster may grow to, where an autoscaler adds them. None: what is there is all."""
    generation: GenerationSettings = GenerationSettings()
    """Engines that write documents."""
    training: WorkerSettings = WorkerSettings(workers=2)
    """Ranks of midtraining and SFT, one GPU each at most."""
    serving: ServeSettings = ServeSettings(cpus=2)
    """Engines that answer for the arms, and who asks them."""
    worker_failures: Annotated[int, Field(ge=0), Unit("times")] = 2
    """How often a training's worker group is started anew after one of its workers died."""
    node_cache: str | None = None
    """Folder on every node's own disk: blocks are copied there, once a node, before they are trained on. None: they are read
    where they lie, and those of an object store are copied into the folder for temporary files."""
    least_disk_gib: Annotated[float, Field(ge=0), Unit("GiB")] = 2
    """Free disk below the root that a run needs; less is refused before anything starts."""
    least_memory_gib: Annotated[float, Field(ge=0), Unit("GiB")] = 2
    """Memory that a run on this machine alone needs; less is refused before anything starts."""

    @model_validator(mode="after")
    def stages_take_the_clusters_gpu(self) -> ClusterSettings:
        """A stage that names no card of its own asks for the cluster's; a rank of a training has one GPU."""
        if self.training.tensor_parallel > 1:
            raise ValueError(
                "training.tensor_parallel: a rank of a training has one GPU: set training.workers and gpus: 1"
            )
        for name in ("generation", "training", "serving"):
            stage = getattr(self, name)
            if stage.gpus and stage.accelerator in (None, self.accelerator):
                memory = stage.gpu_memory_gib or self.gpu_memory_gib
                shared = {"accelerator": self.accelerator, "gpu_memory_gib": memory}
                object.__setattr__(self, name, stage.model_copy(update=shared))  # frozen, but not handed out yet
        return self
