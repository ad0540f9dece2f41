"""One Ray for a run: our own on this machine, or the cluster that a job already runs in. Nothing of ours stays behind."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from msm_ray import interruption, machine
from msm_ray.errors import PreflightError
from msm_ray.placement import Placement
from msm_ray.placement.room import check_room
from msm_ray.placement.settings import ClusterSettings
from msm_ray.serve.address import beside_proxy

# Why each: stack notes in docs/stack.md ("Ray on one machine").
LOCAL_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # binds to 127.0.0.1
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_DEDUP_LOGS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "WANDB_SILENT": "true",
    "WANDB_DISABLE_WEAVE": "true",  # it advertises itself wherever openai is imported
}
LONGEST_PLACE = 107 - len("/msm-ray-12345678/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Bytes of a folder below which Ray's sockets, whose names take 107 bytes at most, still have room."""
SHOW_WORKER_LOGS = "MSM_LOGS"
"""Set to 1 to see every worker's output while it runs; otherwise it is kept in files, and saved when a run fails."""


@contextlib.contextmanager
def open_session(
    cluster: ClusterSettings, logs: Path | None = None, *, hub: bool = False, asked: Sequence[Placement] = ()
) -> Iterator[None]:
    """Connect to the cluster named by RAY_ADDRESS (set inside `ray job submit`), else start a Ray of our own and end it.

    A Ray that already runs elsewhere on this machine is left alone: ours has its own address and folders.
    logs: where the workers' output of our own Ray is saved when what runs inside fails. hub: whether workers may fetch
    models from the hub; where all models are folders they may not, since looking there costs seconds a worker.
    asked: what the stages to come will ask for. Raises PreflightError when Ray cannot start or can never hold one of them.
    """
    given = os.environ.get("RAY_ADDRESS")
    environment = LOCAL_ENVIRONMENT if hub else LOCAL_ENVIRONMENT | {"HF_HUB_OFFLINE": "1"}
    past = {name: beside_proxy(os.environ.get(name, "")) for name in ("NO_PROXY", "no_proxy")}
    with _environment({k: v for k, v in environment.items() if k not in os.environ} | past):
        import ray  # reads some of these variables when it is imported

        for noisy, level in (
            ("ray.data", "ERROR"),
            ("ray.llm", "WARNING"),
            ("ray.train", "WARNING"),
            ("ray.serve", "WARNING"),
            ("vllm", "ERROR"),  # Ray Serve LLM imports it here and lets it write to our terminal
        ):
            logging.getLogger(noisy).setLevel(level)

        if ray.is_initialized():
            yield
        elif given:
            with _connected(given):
                check_room(asked, cluster.nodes_max)
                yield
        else:
            with _started(cluster, logs):
                check_room(asked, nodes_max=None)
                yield


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    import ray

    try:
        with interruption.kept():
            ray.init(
                address=address,
                log_to_driver=bool(os.environ.get(SHOW_WORKER_LOGS)),
                logging_level=logging.WARNING,
                logging_config=ray.LoggingConfig(log_level="ERROR"),
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PreflightError(
            f"RAY_ADDRESS={address}: no Ray answers there ({error}); unset RAY_ADDRESS to let msm start its own"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def socket_folder() -> Path:
    """Where Ray's sockets can be: TMPDIR where its name is short enough, else /tmp. Raises PreflightError without either."""
    for place in (Path(tempfile.gettempdir()), Path("/tmp")):
        if len(os.fsencode(place)) <= LONGEST_PLACE and os.access(place, os.W_OK | os.X_OK):
            return place
    raise PreflightError(
        f"TMPDIR={tempfile.gettempdir()}: too long for the sockets of Ray below it ({LONGEST_PLACE} bytes at most), and /tmp "
        "cannot be written; set TMPDIR to a short folder"
    )


@contextlib.contextmanager
def _started(cluster: ClusterSettings, logs: Path | None) -> Iterator[None]:
    """Our own Ray, from its start to its end.

    It asks everyone for its token, Ray's default for a cluster of one's own, whatever RAY_AUTH_MODE says: Serve's replicas
    listen on all addresses and unpickle what they are sent.
    """
    with _environment({"RAY_AUTH_MODE": None}), _up(cluster, logs):
        yield


@contextlib.contextmanager
def _up(cluster: ClusterSettings, logs: Path | None) -> Iterator[None]:
    import ray

    before = {p.pid for p in psutil.Process().children(recursive=True)}
    try:
        folder = _start(cluster, before)
    except SlowStart:
        print("msm: Ray was not up within its 30 s on this machine; once more", file=sys.stderr)
        folder = _start(cluster, before)
    try:
        # Ray Train looks for "the" cluster of the host; name ours.
        with _environment({"RAY_ADDRESS": ray.get_runtime_context().gcs_address}):
            yield
    except BaseException:
        if logs is not None:
            _save_logs(folder, logs)
        raise
    finally:
        with interruption.held_off():
            children = psutil.Process().children(recursive=True)
            ours = [p for p in children if p.pid not in before and not _is_tracker(p)]
            _shut_down_serve()
            ray.shutdown()
            _end(ours)
            shutil.rmtree(folder, ignore_errors=True)


class SlowStart(PreflightError):
    """Ray gave its processes up after the 30 s that it allows them: a slow disk or a busy machine, which may be over."""


def _start(cluster: ClusterSettings, before: set[int]) -> Path:
    """Start our own Ray; returns the folder of its sockets and logs. before: processes below us that are not Ray's.

    Raises PreflightError, with nothing left behind, where it does not come up; SlowStart where it only took too long.
    """
    import ray

    place = socket_folder()
    folder = Path(tempfile.mkdtemp(prefix="msm-ray-", dir=place))
    try:
        with interruption.kept(), _environment({"VLLM_RPC_BASE_PATH": str(place)}):  # its sockets too
            ray.init(
                address="local",
                num_cpus=cluster.cpus,
                object_store_memory=int(cluster.object_store_gib * 2**30),
                include_dashboard=False,
                _temp_dir=str(folder),
                log_to_driver=bool(os.environ.get(SHOW_WORKER_LOGS)),
                logging_level=logging.WARNING,
                logging_config=ray.LoggingConfig(log_level="ERROR"),
                runtime_env={"py_executable": python} if (python := machine.interpreter()) else None,
            )
    except BaseException as error:
        with interruption.held_off():
            ray.shutdown()
            _end([p for p in psutil.Process().children(recursive=True) if p.pid not in before and not _is_tracker(p)])
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Exception):
            kind = SlowStart if "timed out during startup" in str(error) else PreflightError
            raise kind(f"Ray did not start on this machine: {error}") from error
        raise
    return folder


def _is_tracker(process: psutil.Process) -> bool:
    """W&B's own service: a child of ours that ends with us, after it has written what it holds."""
    try:
        return process.name().startswith("wandb")
    except psutil.NoSuchProcess:
        return False


def _save_logs(folder: Path, logs: Path) -> None:
    """Keep what workers, engines and replicas printed: the session's folder goes with the session."""
    for number, path in enumerate(sorted(folder.glob("session_2*/logs/**/*"))):
        if path.is_file() and path.suffix in (".out", ".err", ".log") and path.stat().st_size:
            with contextlib.suppress(OSError):  # no room, perhaps: that is then what the run failed on, and is said
                logs.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, logs / f"{number:03d}-{path.name}")
    if logs.is_dir():
        print(f"msm: the workers' logs are in {logs}", file=sys.stderr)


def _shut_down_serve() -> None:
    if "ray.serve" in sys.modules:
        from ray import serve

        with contextlib.suppress(Exception):
            serve.shutdown()


def _end(processes: list[psutil.Process]) -> None:
    """Engines are grandchildren of Ray's workers and outlive them for a while; nothing of ours may."""
    _, alive = psutil.wait_procs(processes, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Inside, the environment has these values; None: not set."""
    before = {key: os.environ.get(key) for key in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
