"""Which W&B run a stage is, and what decides whether there is one. Real wandb, offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from msm_ray.config import TrackingSettings
from msm_ray.tracking import RunName, Tracker, open_run


def name_in(folder: Path, fingerprint: str = "f") -> RunName:
    return RunName("quickstart", "sft", "cheese-s0", 1, fingerprint, str(folder), TrackingSettings())


def test_a_resumed_stage_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    ids = []
    for _ in range(2):
        with open_run(name_in(tmp_path)) as tracker:
            tracker.summary({"rows": 1})
    for folder in sorted((tmp_path / "wandb").glob("offline-run-*")):
        ids.append(folder.name.rpartition("-")[2])
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


def _no_room(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
