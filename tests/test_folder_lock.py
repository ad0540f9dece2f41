"""The lock of a folder: refused where there are none, and what is told where another machine's may not reach this one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from msm_ray.errors import PreflightError
from msm_ray.graph import folder_lock
from msm_ray.graph.store import ArtifactStore


def test_a_file_system_without_locks_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "flock", no_locks)
    with pytest.raises(PreflightError, match="takes no locks .*root=FOLDER"), ArtifactStore(tmp_path).lock():
        pass


def test_a_run_of_another_machine_that_has_not_said_that_it_ended_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock may not reach this machine."""
    store, told = ArtifactStore(tmp_path), "the last run there (process 5 on elsewhere) did not say that it ended"
    with store.lock():
        left = (tmp_path / ".lock").read_text()  # as a kill leaves it
    with store.lock():
        assert capsys.readouterr().err == ""
    (tmp_path / ".lock").write_text(left)
    with store.lock():
        assert capsys.readouterr().err == "", "this machine's locks are known to hold"
    (tmp_path / ".lock").write_text("process 5 on elsewhere")
    with pytest.raises(RuntimeError, match="the stage"), store.lock():
        assert told in capsys.readouterr().err
        raise RuntimeError("the stage")
    monkeypatch.setattr(folder_lock.platform, "node", lambda: "a third")
    with store.lock():
        assert capsys.readouterr().err == "", "an end by an error is an end"
