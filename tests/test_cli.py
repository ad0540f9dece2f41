"""Bad input on the command line: the right exit code, a message that helps, and nothing started or half-written."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from plain_nodes import plain

from msm_ray import cli
from msm_ray.graph.artifacts import commit
from msm_ray.graph.store import ArtifactStore


def msm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command in this process: its exit code and all that it printed."""
    monkeypatch.setattr(sys, "argv", ["msm", *arguments])
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):  # noqa: ANN201
    def call(command: str, *overrides: str) -> tuple[int, str]:
        return msm(monkeypatch, capsys, command, "jobs/quickstart.yaml", f"root={tmp_path / 'root'}", *overrides)

    return call


def test_a_plan_starts_nothing_and_writes_nothing(run, tmp_path: Path) -> None:  # noqa: ANN001
    code, printed = run("plan")
    assert code == 0
    assert "midtrain" in printed
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("override", "code", "named"),
    [
        ("specs.endings=nowhere.md", 2, "nowhere.md"),
        ("aft.stpes=3", 2, "did you mean 'steps'"),
        ("base.source=/no/such/folder", 2, "no such folder"),
        ("base.source=specs", 2, "config.json"),
        ("arms.values/aft.midtrain=affordabilty", 2, "did you mean 'affordability'"),
        ("cluster.least_disk_gib=1e9", 3, "least_disk_gib"),
        ("cluster.cpus=1", 3, "cluster.cpus"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_starts(
    run,
    tmp_path: Path,
    override: str,
    code: int,
    named: str,  # noqa: ANN001
) -> None:
    ended, printed = run("run", override)
    assert ended == code
    assert named in printed
    assert not list((tmp_path / "root").glob("*/*@*"))


def test_specs_that_are_empty_or_not_utf8(run, tmp_path: Path) -> None:  # noqa: ANN001
    for content in (b"", b"  \n", b"\xff\xfe broken"):
        spec = tmp_path / "s.md"
        spec.write_bytes(content)
        code, printed = run("plan", f"specs.endings={spec}")
        assert code == 2
        assert "s.md" in printed


def test_a_port_in_use_is_named(run) -> None:  # noqa: ANN001
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, printed = run("run", f"cluster.serving.port={port}")
    assert code == 3
    assert str(port) in printed


def test_a_report_that_is_not_there_yet_and_arms_that_are_not_trained(run) -> None:  # noqa: ANN001
    for command, named in (("report", "no report"), ("serve", "not trained yet")):
        code, printed = run(command)
        assert code == 2
        assert named in printed


def test_verify_names_what_is_not_what_was_committed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path)
    for name in ("a", "b"):
        folder, record = store.begin(plain("chats", name, {}), {})
        (folder / "data").write_text("rows")
        commit(folder, record, {})
    assert msm(monkeypatch, capsys, "verify", str(tmp_path)) == (0, "2 artifacts, each as it was committed\n")
    (store.root / "chats/b@1/data").write_text("rowz")
    code, printed = msm(monkeypatch, capsys, "verify", str(tmp_path))
    assert code == 2
    assert "chats/b@1: data has other content" in printed and "1 of 2 artifacts" in printed
    code, printed = msm(monkeypatch, capsys, "verify", str(tmp_path / "nowhere"))
    assert code == 2 and "no artifacts there" in printed


def test_usage_errors_end_with_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["rum", "x"], ["run"], ["run", "jobs/none.yaml"], ["run", "jobs/quickstart.yaml", "--forse"]):
        assert msm(monkeypatch, capsys, *arguments)[0] == 2, arguments


def test_force_of_a_stage_that_does_not_exist(run) -> None:  # noqa: ANN001
    code, printed = run("run", "--force", "trainings")
    assert code == 2
    assert "no such stage" in printed


def test_a_reader_that_leaves_is_no_interruption() -> None:
    words = [sys.executable, "-m", "msm_ray.cli", "plan", "jobs/quickstart.yaml"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as plan:
        assert plan.stdout and plan.stderr
        plan.stdout.close()  # as `| head` does
        assert plan.stderr.read() == ""
        assert plan.wait() == 1
