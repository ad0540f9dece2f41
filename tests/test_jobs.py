"""`ray job submit` against a local head does what the command does; it ends with 1 for every failure, and ours is told."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from msm_ray.look import status

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

RAY = str(Path(sys.executable).parent / "ray")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Ray head of our own; yields the environment in which `ray job submit` finds it.

    A free port can be taken by another Ray before this one binds it: then the head ends, and another one gets other ports.
    """
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_worker_niceness": "0",
        "RAY_raylet_start_wait_time_s": "240",  # 30 is too short for two cores that test something else as well
        "RAY_gcs_server_port_wait_time_s": "240",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    said = tmp_path_factory.mktemp("head") / "said.txt"
    last_words = ""
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as sockets:  # they need a short path
            started = _start_head(environment, said, sockets)
            try:
                if last_words := _wait_until_it_takes_jobs(environment, started):
                    last_words += said.read_text(encoding="utf-8", errors="replace")[-3000:]
                    continue
                yield environment
                return
            finally:
                _kill_all(started)
    raise AssertionError(f"no head of three takes jobs; of the last one: {last_words}")


def _start_head(environment: dict[str, str], said: Path, folder: str) -> subprocess.Popen:
    """Every port is a free one: a default one belongs to any other Ray on this machine."""
    dashboard = free_port()
    environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
    with said.open("w") as file:
        return subprocess.Popen(
            [RAY, "start", "--head", "--block", "--num-cpus=4", f"--port={free_port()}", "--node-ip-address=127.0.0.1",
             "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--include-dashboard=true",
             f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}",
             f"--runtime-env-agent-port={free_port()}", f"--metrics-export-port={free_port()}",
             f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}",
             "--object-store-memory=300000000"],
            env=environment, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _kill_all(started: subprocess.Popen) -> None:
    """To end itself takes it half a minute. One that has ended already leaves nothing to kill."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(started.pid).children(recursive=True), started]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    started.wait(timeout=60)


def _wait_until_it_takes_jobs(environment: dict[str, str], head_process: subprocess.Popen) -> str:
    """Returns what is wrong where it never does. The dashboard listens before a node's agent has registered; until then,
    submitting is a server error 500."""
    deadline, tried = time.monotonic() + 240, ""
    while time.monotonic() < deadline:
        if head_process.poll() is not None:
            return f"it ended with {head_process.returncode}. "
        address = environment["RAY_API_SERVER_ADDRESS"]
        submitted = subprocess.run(
            [RAY, "job", "submit", "--address", address, "--", "true"],
            env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        if submitted.returncode == 0:
            return ""
        tried = f"{submitted.stdout[-500:]}{submitted.stderr[-500:]} "
        time.sleep(2)
    return f"it took no job: {tried}"


def jobs_of(head: dict[str, str]) -> list[str]:
    """What was submitted to the head, by its own account."""
    shown = {"Authorization": f"Bearer {head['RAY_AUTH_TOKEN']}"}
    asked = urllib.request.Request(f"{head['RAY_API_SERVER_ADDRESS']}/api/jobs/", headers=shown)
    with urllib.request.urlopen(asked, timeout=60) as reply:
        return sorted(job["submission_id"] for job in json.load(reply) if job["submission_id"])


def submit(head: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    address = head["RAY_API_SERVER_ADDRESS"]
    return subprocess.run(
        [RAY, "job", "submit", "--address", address, "--working-dir", ".", "--", "msm", *arguments],
        env=head, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.fixture
def two_arms(tmp_path: Path) -> Path:
    """The quickstart cut down to two arms, one eval and a few steps: small, and through every kind of stage."""
    whole = yaml.safe_load(Path("jobs/quickstart.yaml").read_text(encoding="utf-8"))
    arms = {name: whole["arms"][name] for name in ("agentic/aft", "agentic/msm+aft")}
    small = {
        "specs": {"endings": whole["specs"]["endings"]},
        "documents": whole["documents"] | {"engine": "offline", "documents": 40, "least_share": 0},
        "corpora": {},
        "chats": {name: whole["chats"][name] | {"count": 200} for name in ("endings", "ordinary")},
        "midtraining": whole["midtraining"] | {"steps": 2, "least_steps": 1},
        "aft": whole["aft"] | {"steps": 2, "least_steps": 1},
        "arms": arms,
        "evals": {"agentic": whole["evals"]["agentic"] | {"arms": list(arms), "rollouts": 1}},
        "report": {},
    }
    path = tmp_path / "two-arms.yaml"
    path.write_text(yaml.safe_dump(whole | small), encoding="utf-8")
    return path


def test_ctrl_c_on_a_terminal_ends_a_run_with_its_own_ray_and_leaves_another_alone(
    head: dict[str, str], tmp_path: Path
) -> None:
    """The terminal sends SIGINT to the whole group: neither the filter nor the bars may stand in the way of the tidying up."""
    root = tmp_path / "root"
    small = ["documents.documents=6000", "corpora={}", "documents.engine=offline", "midtraining.most_epochs=1000"]
    order = [sys.executable, "-m", "msm_ray.cli", "generate", "jobs/quickstart.yaml", f"root={root}", *small]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_") and key != "CI"}
    before = jobs_of(head)
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execve(order[0], order, clean | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"})  # noqa: S606
    sent, below = b"", dict[psutil.Process, str]()
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65_536):
            sent += chunk
            if not below and re.search(rb"[1-9][\d,]* of [\d,]+ documents \(\d+%\), [\d,]+ documents/s", sent):
                below = {one: one.name() for one in psutil.Process(pid).children(recursive=True)}
                os.write(terminal, b"\x03")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    shown = sent.decode()
    assert code == 130, shown[-2000:]
    assert "raylet" in below.values(), "a Ray of its own"
    assert "go on with: cli.py generate" in shown
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l")  # the cursor is there
    assert psutil.wait_procs(list(below), timeout=20)[1] == []
    assert status.read(root)["state"] == "interrupted"
    assert jobs_of(head) == before


def test_a_submitted_job_writes_documents_on_the_cluster_that_runs_it(
    head: dict[str, str], two_arms: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    ended = submit(head, "generate", str(two_arms), f"root={root}")
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert len(list(root.glob("corpus/*/COMMITTED"))) == 1


@pytest.mark.soak
def test_a_submitted_job_runs_the_whole_experiment_on_the_cluster_that_runs_it(
    head: dict[str, str], two_arms: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    ended = submit(head, "run", str(two_arms), f"root={root}")
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert "agentic/msm+aft" in ended.stdout
    assert len(list(root.glob("sft/*/COMMITTED"))) == 2
    assert list(root.glob("report/*/COMMITTED"))


def test_too_few_logical_cpus_is_an_error_that_says_how_many(
    head: dict[str, str], two_arms: Path, tmp_path: Path
) -> None:
    ended = submit(head, "run", str(two_arms), f"root={tmp_path / 'root'}", "cluster.training.workers=7")
    assert ended.returncode != 0
    assert "needs 7 logical CPUs" in ended.stdout + ended.stderr


def test_a_wrong_setting_fails_the_job(head: dict[str, str], tmp_path: Path) -> None:
    ended = submit(head, "generate", "jobs/quickstart.yaml", f"root={tmp_path / 'root'}", "documents.engin=offline")
    assert ended.returncode == 1  # Ray's, for every failure
    assert "did you mean 'engine'" in ended.stdout + ended.stderr
    assert "\nmsm: exit code 2\n" in ended.stdout
