"""Users without a name or a home, long folders for temporary files, roots that can't be written."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from test_preflight import findings

from msm_ray import ray_session, user
from msm_ray.errors import PreflightError


def test_a_user_id_without_a_name_and_a_home_has_both_from_the_start(tmp_path: Path) -> None:
    """In a process of its own: the id has no entry in the password file, as in a container that runs as user 12345."""
    script = (
        "import os, pwd, sys, getpass\n"
        "def unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\n"
        "pwd.getpwuid = unknown\n"
        "from msm_ray import cli\n"
        "sys.argv = ['msm', 'plan', 'jobs/quickstart.yaml', f'root={sys.argv[1]}']\n"
        "try: cli.main()\nexcept SystemExit as ended: assert not ended.code, ended.code\n"
        "print(getpass.getuser(), os.environ['HOME'])\n"
    )
    bare = {k: v for k, v in os.environ.items() if k not in ("USER", "LOGNAME", "LNAME", "USERNAME", "HOME")}
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "root")],
        env=bare | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == f"uid{os.getuid()} {tmp_path}/msm-home-{os.getuid()}"


def test_a_name_and_a_home_that_are_there_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    name = getpass.getuser()
    user.settle()
    assert (getpass.getuser(), os.environ["HOME"]) == (name, str(tmp_path))


def test_sockets_have_room_below_a_long_tmpdir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("l" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert ray_session.socket_folder() == Path("/tmp")
    monkeypatch.setattr(os, "access", lambda place, how: Path(place) != Path("/tmp"))
    with pytest.raises(PreflightError, match="set TMPDIR to a short folder"):
        ray_session.socket_folder()


@pytest.mark.parametrize("address", ["", "127.0.0.1:1"])
def test_roots_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    (tmp_path / "file").write_text("")
    told = findings("jobs/quickstart.yaml", f"root={tmp_path / 'file' / 'root'}")
    assert [(f.key, f.remedy) for f in told if f.severity == "error"] == [("root", "give root=FOLDER")]
    relative = [f for f in findings("jobs/quickstart.yaml", "root=runs/x") if f.severity == "warning"]
    assert [f.key for f in relative] == (["root"] if address else [])


def test_a_root_that_another_run_writes_to_is_told(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / ".lock").write_text(f"process {other.pid} on {platform.node()}")
        told = findings("jobs/quickstart.yaml", f"root={tmp_path}")
        assert [(f.severity, f.key) for f in told] == [("warning", "root")]
        other.communicate(b"\n")
    assert findings("jobs/quickstart.yaml", f"root={tmp_path}") == []
