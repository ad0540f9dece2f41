"""Ray Train around the loop: one worker group that runs many jobs, so that its start and its imports are paid once."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msm_ray.errors import MsmError, OutOfMeans, StageError
from msm_ray.graph.artifacts import commit, is_committed
from msm_ray.placement import rank_bundle, training
from msm_ray.placement.room import check_room, wait_for_room
from msm_ray.placement.settings import ClusterSettings
from msm_ray.tracking import Tracker, training_run
from msm_ray.train.board import Board, held_up
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
    on_finished: OnFinished = commit,
    say: Callable[[str], None] = print,
) -> dict[str, MsmError]:
    """Run jobs in order on one worker group of a connected Ray; what is committed already is skipped.

    on_finished(folder, record, counts) commits a finished job; it is called by rank 0 and must be a top-level function,
    for it travels to the worker. storage: a folder that all nodes see, for Ray Train's own bookkeeping. say: is told what
    a user should know meanwhile. A worker that dies is replaced with its whole group, `cluster.worker_failures` times, and
    the job goes on from its checkpoint.

    Returns job name -> why it failed: what a guard raised (SettingsError, StageError), a StageError with the worker's own
    message for a crash. What goes on from a failed job is not begun, everything else is trained. Raises PreflightError when
    the cluster is too small, OutOfMeans when the disk is full, StageError when no worker group comes up.
    """
    asked = training(cluster.training)
    failed: dict[str, MsmError] = {}
    crashed = True
    while crashed:
        todo = [job for job in jobs if not is_committed(job.out) and not held_up(job, jobs, failed)]
        if not todo:
            break
        check_room([asked], cluster.nodes_max)
        wait_for_room(asked)
        crashed = _attempt(todo, cluster, storage.resolve(), on_finished, say, failed)
    return failed


def _attempt(
    todo: Sequence[TrainingJob],
    cluster: ClusterSettings,
    storage: Path,
    on_finished: OnFinished,
    say: Callable[[str], None],
    failed: dict[str, MsmError],
) -> bool:
    """One worker group's life; its failures go into `failed`. Returns whether it ended before it was through with all."""
    name = f"train-{uuid.uuid4().hex[:8]}"
    board = Board(storage / f"{name}-board")
    board.folder.mkdir(parents=True)
    try:
        with board.read_aloud(say):
            _fit(todo, cluster, storage, name, on_finished, board)
    except _Crash as crash:
        failed |= board.failures()
        if any(os.strerror(number) in str(crash) for number in (errno.ENOSPC, errno.EDQUOT)):
            raise OutOfMeans(f"{crash}; make room first (what is written is safe)") from crash
        if (running := board.running()) is None:
            raise
        failed |= {job.name: crash for job in todo if job.name == running and not _is_over(job, failed)}
        return True
    else:
        failed |= board.failures()
        return False
    finally:
        for folder in (storage / name, board.folder):
            shutil.rmtree(folder, ignore_errors=True)


class _Crash(StageError):
    """A worker group that ended as often as it may, with its first worker's own last words."""


def _is_over(job: TrainingJob, failed: Container[str]) -> bool:
    return is_committed(job.out) or job.name in failed


def _fit(
    jobs: Sequence[TrainingJob],
    cluster: ClusterSettings,
    storage: Path,
    name: str,
    on_finished: OnFinished,
    board: Board,
) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import FailureConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    from msm_ray.train.process_group import OwnAddressConfig

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
        train_loop_config={"jobs": list(jobs), "on_finished": on_finished, "board": board},
        scaling_config=ScalingConfig(
            num_workers=workers.workers,
            use_gpu=workers.gpus > 0,
            resources_per_worker=rank_bundle(workers),
        ),
        torch_config=OwnAddressConfig(backend="nccl" if workers.gpus else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=cluster.worker_failures, controller_failure_limit=GROUP_STARTS),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        kind = _Crash if getattr(error, "worker_failures", None) else StageError
        raise kind(_reason(error)) from error


def _train_on_worker(config: dict[str, Any]) -> None:
    """What each worker runs. A job that fails is noted on the board, and those that don't go on from it are trained.

    An error that all ranks met leaves the group as good as it was. One that a single rank met leaves the others waiting for
    it: it is raised, Ray ends them all and starts the group anew, which finds the note and goes on with the next job.
    """
    import ray.train

    from msm_ray.train import loop, ranks

    first = ray.train.get_context().get_world_rank() == 0
    jobs, board = config["jobs"], config["board"]

    def tell(progress: loop.Progress) -> None:
        if first:
            print(progress.line(), flush=True)
        ray.train.report(progress.numbers())

    for job in jobs:
        if ranks.from_first(partial(board.begin, job, jobs)):
            try:
                _run_and_commit(job, tell, board.say, config["on_finished"])
            except MsmError as error:
                together = ranks.is_everywhere(error)
                if first or not together:
                    board.note_failure(job.name, error)
                if not together:
                    raise


def _run_and_commit(
    job: TrainingJob, tell: Callable[[Any], None], say: Callable[[str], None], on_finished: OnFinished
) -> None:
    import torch.distributed as dist

    from msm_ray.train import loop, ranks

    with _tracker(job, dist.get_rank() == 0) as tracker:

        def tell_all(progress: loop.Progress) -> None:
            tracker.log(progress.curves())
            tell(progress)

        counts = loop.train(job, tell_all, say)
        ranks.from_first(lambda: on_finished(job.out, job.record, counts))
        training_run.finished(tracker, counts, job.out, *job.inputs)


def _tracker(job: TrainingJob, first: bool) -> contextlib.AbstractContextManager[Tracker]:
    """Rank 0 is the one writer of a training's W&B run."""
    if job.run is None or not first:
        return contextlib.nullcontext(Tracker())
    return training_run.opened(job.run, {**job.settings.content(), "seed": job.seed})


def _reason(error: Exception) -> str:
    """The first worker's own last words, without the frames of Ray around them."""
    failures = getattr(error, "worker_failures", None) or {0: getattr(error, "controller_failure", error)}
    rank, failure = next(iter(sorted(failures.items())))
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    why = f"training worker {rank} failed: {lines[-1]}" if lines else "training failed"
    return f"{why}. The same command goes on from the newest checkpoint"
