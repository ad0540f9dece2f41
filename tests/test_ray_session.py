"""What a run does when Ray does not come up."""

from __future__ import annotations

from pathlib import Path

import pytest

from msm_ray import ray_session
from msm_ray.errors import PreflightError
from msm_ray.placement.settings import ClusterSettings

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


def starts_that_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, messages: list[str]) -> list[str]:
    """Each start of Ray fails with the next message; the folders that they were given."""
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_session, "socket_folder", lambda: tmp_path)
    folders: list[str] = []

    def init(**given: object) -> None:
        folders.append(str(given["_temp_dir"]))
        raise Exception(messages[len(folders) - 1])

    monkeypatch.setattr(ray, "init", init)
    return folders


def test_a_slow_start_is_tried_once_more_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = starts_that_fail(monkeypatch, tmp_path, [SLOW, SLOW])
    with pytest.raises(PreflightError, match="timed out during startup"), ray_session.open_session(ClusterSettings()):
        pass
    assert len(set(folders)) == 2
    assert not list(tmp_path.iterdir())
    assert "once more" in capsys.readouterr().err


def test_another_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = starts_that_fail(monkeypatch, tmp_path, ["no such device"])
    with pytest.raises(PreflightError, match="no such device"), ray_session.open_session(ClusterSettings()):
        pass
    assert len(folders) == 1
