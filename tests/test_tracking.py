"""Which W&B run a stage is, and what decides whether there is one. Real wandb, offline."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from msm_ray.config import TrackingSettings
from msm_ray.tracking import RunName, Tracker, open_run, without_key


def name_in(folder: Path, fingerprint: str = "f") -> RunName:
    return RunName("quickstart", "sft", "cheese-s0", 1, fingerprint, str(folder), TrackingSettings())


def test_a_resumed_stage_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    ids = []
    for _ in range(2):
        with open_run(name_in(tmp_path)) as tracker:
            tracker.summary({"rows": 1})
    for folder in sorted((tmp_path / "wandb").glob("offline-run-*")):
        ids.append(folder.name.split("-")[3])  # a second run within the same second has a number after it
    assert set(ids) == {name_in(tmp_path).id}
    assert name_in(tmp_path, "other settings").id not in ids


def test_wandb_mode_wins_over_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with open_run(name_in(tmp_path)) as tracker:
        assert type(tracker) is Tracker
    assert not (tmp_path / "wandb").exists()


def test_a_tracker_that_fails_never_stops_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with open_run(name_in(tmp_path)) as tracker:
        monkeypatch.setattr(tracker._run, "log", _no_room)  # type: ignore[attr-defined]
        tracker.log({"loss": 1.0})


ONLINE = """
import sys
from pathlib import Path
from test_tracking import name_in
from msm_ray.tracking import open_run
with open_run(name_in(Path(sys.argv[1]))) as tracker:
    tracker.summary({"rows": 1})
"""


def test_online_without_a_key_never_asks_at_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{Path(__file__).parent}")
    terminal, ours = pty.openpty()
    run = subprocess.run(
        [sys.executable, "-c", ONLINE, str(tmp_path)], stdin=ours, stdout=ours, stderr=ours, timeout=60
    )
    os.close(terminal)
    assert run.returncode == 0
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


def test_a_key_that_is_missing_is_said_and_one_that_is_there_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "online")
    assert "WANDB_API_KEY" in without_key(TrackingSettings())
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password sesame\n")
    assert without_key(TrackingSettings()) == ""
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.example")
    assert "wandb.lab.example" in without_key(TrackingSettings())
    monkeypatch.setenv("WANDB_API_KEY", "sesame")
    assert without_key(TrackingSettings()) == ""
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert without_key(TrackingSettings(mode="online")) == ""


def _no_room(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
