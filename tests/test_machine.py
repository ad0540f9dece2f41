"""What the machine has, read where a container's limits stand, and what is refused for it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from msm_ray import forecast, machine
from msm_ray.config.file import load_experiment
from msm_ray.errors import PreflightError
from msm_ray.graph.planning import Planned, plan
from msm_ray.graph.store import ArtifactStore
from msm_ray.machine import Machine
from msm_ray.pipeline import Experiment, unfold
from msm_ray.placement.settings import ClusterSettings

LAPTOP = Machine(cores=2, memory_gib=7.6, available_gib=6.6, disk_gib=8, shared_gib=3.8, python="3.11.2")


def with_(**changes: float | None) -> Machine:
    return Machine(**{**LAPTOP.__dict__, **changes})


def test_a_laptop_of_8_gib_may_run_the_quickstart(tmp_path: Path) -> None:
    cluster = load_experiment("jobs/quickstart.yaml").cluster
    machine.refuse_lacking(LAPTOP, cluster, tmp_path, engines=True)


def test_every_shortage_is_told_at_once_with_its_remedy(tmp_path: Path) -> None:
    cluster = ClusterSettings(least_memory_gib=6, least_disk_gib=3)
    small = with_(memory_gib=4, disk_gib=1, shared_gib=64 / 1024)
    with pytest.raises(PreflightError) as refused:
        machine.refuse_lacking(small, cluster, tmp_path, engines=True)
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert "1.0 GiB free, 3 needed (cluster.least_disk_gib)" in lines[0]
    assert "4.0 GiB on this machine, 6 needed (cluster.least_memory_gib)" in lines[1]
    assert "64 MiB free, a vLLM engine needs 160" in lines[2] and "--shm-size" in lines[2]
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(("shared", "engines"), [(256 / 1024, True), (None, True), (64 / 1024, False)])
def test_enough_shared_memory_or_no_engine_is_no_shortage(tmp_path: Path, shared: float | None, engines: bool) -> None:
    machine.refuse_lacking(with_(shared_gib=shared), ClusterSettings(), tmp_path, engines=engines)


def test_a_library_that_no_wheel_brings_is_named_with_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(PreflightError, match=r"libnuma\.so\.1 is missing.*apt-get install libnuma1"):
        machine.refuse_lacking(LAPTOP, ClusterSettings(), tmp_path, engines=True)
    machine.refuse_lacking(LAPTOP, ClusterSettings(), tmp_path, engines=False)


def test_memory_that_others_hold_is_a_word_and_no_refusal(tmp_path: Path) -> None:
    cluster = ClusterSettings(least_memory_gib=6)
    machine.refuse_lacking(with_(available_gib=3), cluster, tmp_path, engines=True)
    assert "close other programs" in machine.warn_of_little(with_(available_gib=3), cluster)
    assert machine.warn_of_little(LAPTOP, cluster) == ""


def test_a_containers_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2**30}\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    found = machine.look(tmp_path / "not" / "there" / "yet")
    assert (found.cores, found.memory_gib) == (0.5, 3)
    assert found.available_gib <= 2


def test_a_container_without_limits_has_what_its_host_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.look(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    found = machine.look(tmp_path)
    assert (found.memory_gib, found.cores) == (before.memory_gib, before.cores)


def test_a_python_whose_path_has_a_space_is_quoted_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/me/My Projects/.venv/bin/python")
    assert shlex.split(machine.interpreter() or "") == ["/home/me/My Projects/.venv/bin/python"]
    monkeypatch.setattr(sys, "executable", "/home/me/Prôjets/.venv/bin/python".replace("ô", "o"))
    assert machine.interpreter() is None


def test_the_forecast_follows_what_is_left_and_the_machines_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = unfold(load_experiment("jobs/quickstart.yaml", [f"root={tmp_path}"]))
    todo = plan(experiment.graph, ArtifactStore(tmp_path))
    monkeypatch.setattr(machine, "speed", lambda: forecast.REFERENCE)
    whole = forecast.seconds(todo)
    assert 8 * 60 < whole < 16 * 60
    assert expected_line(experiment, todo).startswith(f"about {round(whole / 60)} minutes to go")
    monkeypatch.setattr(machine, "speed", lambda: forecast.REFERENCE / 2)
    assert expected_line(experiment, todo).startswith(f"about {round(whole / 30)} minutes to go")
    asking = [p for p in todo if p.node.kind in ("rollouts", "verdicts", "report")]
    assert forecast.seconds(asking) < whole / 2
    assert forecast.look(experiment.settings, todo[-1:]) is None


def expected_line(experiment: Experiment, todo: Sequence[Planned]) -> str:
    outlook = forecast.look(experiment.settings, todo)
    assert outlook
    return outlook.line()


def test_what_is_left_follows_the_runs_own_pace_once_it_has_shown_one() -> None:
    outlook = forecast.Outlook({"documents": 100.0, "midtrain": 300.0}, relative=0.5)
    assert outlook.seconds_left({"documents": 0.1}, elapsed=5) == 780  # 390 s at half the speed
    assert outlook.seconds_left({"documents": 1.0}, elapsed=150) == 450
    assert outlook.seconds_left({"documents": 1.0, "midtrain": 0.5}, elapsed=375) == 225


def test_nothing_is_forecast_for_a_base_that_was_never_measured(tmp_path: Path) -> None:
    experiment = unfold(load_experiment("jobs/smollm2.yaml", [f"root={tmp_path}"]))
    assert forecast.look(experiment.settings, plan(experiment.graph, ArtifactStore(tmp_path))) is None


def test_speed_is_measured_within_seconds() -> None:
    assert machine.speed(0.1) > 0
