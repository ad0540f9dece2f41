"""What the real tests share: one Ray cluster and the tiny world's base model."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from whole_run import WholeRun, run_whole


def pytest_sessionstart() -> None:
    """A shell's background job has SIGINT ignored, and so would have every `msm` that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Two engines, trainings and servers at once need room; real tests wait half of their time, so two are faster."""
    import psutil

    return 2 if psutil.virtual_memory().available > 14 * 2**30 else 1


FIRST = (
    "test_whole_run",
    "test_rollouts",
    "test_tracking",
    "test_bucket_roots",
    "test_training",
    "test_two_nodes",
    "test_serve",
    "test_jobs",
    "test_pool",
    "test_generation_real",
    "test_same_ids",
    "test_checkpoints_asked",
    "test_ahead",
    "test_at_size",
)
"""The files that take longest, longest first: begun last, one of them would go on alone while the other process is idle.

Beside the first of them those that mostly wait: together at the end they would leave both cores idle.
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only marked tests are wanted, files that have none need no import."""
    wanted = re.match(r"real|soak", config.getoption("markexpr"))
    if not wanted or collection_path.suffix != ".py":
        return None
    return True if f"mark.{wanted[0]}" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within a file, and among all others, the order stays."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A local Ray of the session's own with 8 logical CPUs (placement groups ask for them, not for cores)."""
    from msm_ray import ray_session
    from msm_ray.placement.settings import ClusterSettings

    paths = [
        str(Path(__file__).parent),
        str(Path(__file__).parents[1]),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]  # worlds and engines of tests' own, and of benchmarks
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        with ray_session.open_session(ClusterSettings(cpus=8)):
            yield


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    """The quickstart at reduced size, from nothing to its report."""
    return run_whole(tmp_path_factory.mktemp("whole") / "root")


@pytest.fixture(scope="session")
def tiny_base() -> Path:
    """The folder of the tiny world's shipped base model."""
    return Path(str(resources.files("msm_ray.tinyworld"))) / "base"
