"""Where the work runs: workers, GPUs, addresses. Never part of what is made, nor of any fingerprint."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Strict(BaseModel):
    """Frozen, and strict about keys: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ACCELERATORS = (
    "V100", "P100", "T4", "P4", "K80", "A10G", "L4", "L40S", "A100", "A100-40G", "A100-80G", "H100", "H200", "H20", "B200",
    "B300", "GB200", "GB300", "RTX-PRO-6000",
)  # fmt: skip
"""Ray's names of NVIDIA's cards (`ray.util.accelerators`): what a node with one tells of itself."""


class GpuSettings(Strict):
    """Which GPU: accelerator is Ray's name of the card, gpu_memory_gib its memory; none: any card, memory unknown."""

    accelerator: str | None = None
    gpu_memory_gib: Annotated[float, Field(gt=0)] | None = None

    @field_validator("accelerator")
    @classmethod
    def card_is_known(cls, name: str | None) -> str | None:
        """A misspelt card would be waited for until the wait is over."""
        if name is not None and name not in ACCELERATORS:
            raise ValueError(f"no card that Ray knows by this name; its names are {', '.join(ACCELERATORS)}")
        return name


class WorkerSettings(GpuSettings):
    """What one worker of a stage takes from the cluster: an engine, or a rank of a training.

    cpus, gpus: of one worker, whole. tensor_parallel: GPUs that share one engine; an engine on GPUs takes just these.
    accelerator, gpu_memory_gib: of this stage's GPUs; none: the cluster's. placement_minutes: how long the stage waits for
    room on the cluster, an autoscaler's nodes included, before it ends with a message.
    """

    workers: Annotated[int, Field(gt=0)] = 1
    cpus: Annotated[float, Field(gt=0)] = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    tensor_parallel: Annotated[int, Field(gt=0)] = 1
    max_model_len: Annotated[int, Field(gt=0)] | None = None
    max_num_seqs: Annotated[int, Field(gt=0)] = 64
    memory_gib: Annotated[float, Field(gt=0)] = Field(1, description="key-value cache of a CPU engine, GiB")
    placement_minutes: Annotated[float, Field(gt=0)] = 30

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


class ServeSettings(WorkerSettings):
    """Serving and asking. host and port: where the address is; port 0 takes a free one. connections: requests in flight.

    askers: processes that ask (Inspect, about 17 ms of CPU a rollout); request_seconds: a request is given up after these.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    connections: Annotated[int, Field(gt=0)] = 64
    askers: Annotated[int, Field(gt=0)] = 1
    request_seconds: Annotated[int, Field(gt=0)] = 300
    most_refused: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="share of rollouts that the server may refuse for their own sake (too long); more is a gate"
    )
    probes: Annotated[int, Field(gt=0)] = Field(8, description="prompts on which an arm has to differ from the base")


class ClusterSettings(GpuSettings):
    """Where the work runs; never part of a fingerprint. cpus: logical CPUs of a local Ray (a job on a cluster ignores it).

    accelerator, gpu_memory_gib: the GPU of every stage that takes GPUs and names none of its own. nodes_max: nodes that the
    cluster may grow to, where an autoscaler adds them; none: what is there is all.
    """

    cpus: Annotated[int, Field(gt=0)] = 8
    object_store_gib: Annotated[float, Field(gt=0)] = 1
    nodes_max: Annotated[int, Field(gt=0)] | None = None
    generation: WorkerSettings = WorkerSettings()
    training: WorkerSettings = WorkerSettings(workers=2)
    serving: ServeSettings = ServeSettings(cpus=2)
    worker_failures: Annotated[int, Field(ge=0)] = Field(2, description="times a training worker group is started anew")
    least_disk_gib: Annotated[float, Field(ge=0)] = 2
    least_memory_gib: Annotated[float, Field(ge=0)] = Field(
        2, description="memory that a run on this machine alone needs; less is refused before anything starts"
    )

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
