"""Ray Train around the loop: one worker group that runs many jobs, so that its start and its imports are paid once."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msm_ray import artifacts, errors
from msm_ray.config import ClusterSettings
from msm_ray.errors import MsmError, StageError
from msm_ray.placement import rank_bundle, training
from msm_ray.placement.room import check_room, wait_for_room
from msm_ray.tracking import Tracker, open_run
from msm_ray.train.job import TrainingJob

QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # or every line of ours comes twice
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}
"""What Ray Train carries from the driver's environment to controller and workers; a user's own values win."""

GROUP_STARTS = 4
"""Times that Ray Train tries anew to place or start a worker group; without a limit it tries for ever."""

OnFinished = Callable[[Path, Mapping[str, Any], Mapping[str, Any]], None]


def train_all(
    jobs: Sequence[TrainingJob],
    cluster: ClusterSettings,
    storage: Path,
    on_finished: OnFinished = artifacts.commit,
) -> None:
    """Run jobs in order on one worker group of a connected Ray; what is committed already is skipped.

    on_finished(folder, record, counts) commits a finished job; it is called by rank 0 and must be a top-level function,
    for it travels to the worker. storage: a folder that all nodes see, for Ray Train's own bookkeeping. A worker that
    dies is replaced with its whole group, `cluster.worker_failures` times, and the job goes on from its checkpoint.
    Raises what a guard raised (SettingsError, StageError), PreflightError when the cluster is too small, and StageError
    with the worker's own message for anything else.
    """
    todo = [job for job in jobs if not artifacts.is_committed(job.out)]
    if not todo:
        return
    asked = training(cluster.training)
    check_room([asked], cluster.nodes_max)
    wait_for_room(asked)
    name = f"train-{uuid.uuid4().hex[:8]}"
    storage.mkdir(parents=True, exist_ok=True)
    try:
        refusal = _fit(todo, cluster, storage.resolve(), name, on_finished)
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)
    if refusal is not None:
        raise refusal.error()


@dataclass(frozen=True)
class Refusal:
    """Why a job stopped, in a form that travels: the kind of our error and its message."""

    kind: str
    message: str

    def error(self) -> MsmError:
        """The error again."""
        return getattr(errors, self.kind, StageError)(self.message)


def _fit(
    jobs: Sequence[TrainingJob], cluster: ClusterSettings, storage: Path, name: str, on_finished: OnFinished
) -> Refusal | None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.config import FailureConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    workers = cluster.training
    # A group that lost a node waits for a place again: the same time in all, over several starts.
    wait = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(60 * workers.placement_minutes / (GROUP_STARTS + 1))}
    for key, value in {**QUIET, **wait}.items():
        os.environ.setdefault(key, value)

    class Trainer(TorchTrainer):
        def _register_sigint_handler(self, controller: Any) -> None:
            """Ctrl-C stays with `interruption`: Ray's handler would wait for its controller without end."""

    trainer = Trainer(
        _train_on_worker,
        train_loop_config={"jobs": list(jobs), "on_finished": on_finished},
        scaling_config=ScalingConfig(
            num_workers=workers.workers,
            use_gpu=workers.gpus > 0,
            resources_per_worker=rank_bundle(workers),
        ),
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=cluster.worker_failures, controller_failure_limit=GROUP_STARTS),
        ),
    )
    try:
        result: Any = trainer.fit()
        return result.return_value
    except TrainingFailedError as error:
        raise StageError(_reason(error, jobs)) from error


def _train_on_worker(config: dict[str, Any]) -> Any:
    """What each worker runs; rank 0's answer, a Refusal or None, is what `fit` gives back.

    An error of ours is returned and not raised: Ray would start the group anew, only to be refused again.
    """
    import ray.train

    from msm_ray.train import loop

    first = ray.train.get_context().get_world_rank() == 0

    def tell(progress: loop.Progress) -> None:
        if first:
            print(progress.line(), flush=True)
        ray.train.report(progress.numbers())

    try:
        for job in config["jobs"]:
            _run_and_commit(job, tell, config["on_finished"])
    except MsmError as error:
        return Refusal(type(error).__name__, str(error))
    return None


def _run_and_commit(job: TrainingJob, tell: Callable[[Any], None], on_finished: OnFinished) -> None:
    import torch.distributed as dist

    from msm_ray.train import loop, ranks

    if ranks.from_first(lambda: artifacts.is_committed(job.out)):
        return
    with _tracker(job, dist.get_rank() == 0) as tracker:

        def tell_all(progress: loop.Progress) -> None:
            tracker.log(progress.numbers(), step=progress.step)
            tell(progress)

        counts = loop.train(job, tell_all)
        ranks.from_first(lambda: on_finished(job.out, job.record, counts))
        tracker.summary(counts)


def _tracker(job: TrainingJob, first: bool) -> contextlib.AbstractContextManager[Tracker]:
    """Rank 0 is the one writer of a training's W&B run."""
    if job.run is None or not first:
        return contextlib.nullcontext(Tracker())
    return open_run(job.run, {**job.settings.content(), "seed": job.seed})


def _reason(error: Exception, jobs: Sequence[TrainingJob]) -> str:
    """The first worker's own last words, without the frames of Ray around them."""
    failures = getattr(error, "worker_failures", None) or {0: getattr(error, "controller_failure", error)}
    rank, failure = next(iter(sorted(failures.items())))
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    left = [job.name for job in jobs if not artifacts.is_committed(job.out)]
    with contextlib.suppress(IndexError):
        return f"training worker {rank} failed: {lines[-1]}; not done: {', '.join(left)}. The same command goes on from there"
    return f"training failed; not done: {', '.join(left)}. The same command goes on from there"
