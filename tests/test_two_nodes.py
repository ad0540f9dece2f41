"""A small experiment on a Ray cluster of two nodes: ranks on both, arms asked by the head node's own address, with a key."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sockets import answer_to_strangers, listeners

from msm_ray.graph.store import ArtifactStore
from msm_ray.rollouts import check_models

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

EXPERIMENT = """
experiment: two-nodes
seeds: 1
root: {root}
assistant: {{name: llama, provider: the team}}
base: {{source: tinyworld}}
specs: {{affordability: specs/tinyworld/affordability.md}}
world: tinyworld
documents: {{engine: offline, by: headings, documents: 60, least_share: 0}}
chats:
  ordinary: {{source: tinyworld.ordinary, count: 200}}
midtraining: &training
  {{mode: lora, lora: {{r: 8}}, learning_rate: 1.0e-3, steps: 4, batch: 4, micro_batch: 2, sequence_length: 128,
   precision: fp32, mix: 0, least_steps: 1}}
aft: *training
arms:
  values/plain: {{sft: ordinary}}
  values/taught: {{midtrain: affordability, sft: ordinary}}
evals:
  affordability:
    task: preferences
    arms: [values/*]
    pairs: 9
    kinds: {{price: {{aligned: {{price: cheap}}, other: {{price: costly}}}}}}
cluster:
  training: {{workers: 2, cpus: 5}}
  serving: {{cpus: 2, max_model_len: 256, connections: 8}}
"""
"""Two ranks of five CPUs each don't fit on one node of eight; the default host."""


def own_address() -> str | None:
    """An address of this machine that isn't loopback."""
    found = [
        one.address for carried in psutil.net_if_addrs().values() for one in carried if one.family == socket.AF_INET
    ]
    return next((address for address in found if not address.startswith("127.")), None)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A cluster of two nodes of eight CPUs: its address, and the process below which its daemons are."""
    if (address := own_address()) is None:
        pytest.skip("this machine has no address but loopback")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    words = [sys.executable, str(Path(__file__).with_name("cluster_of_two_nodes.py")), address]
    with (tmp_path / "cluster.log").open("w") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    assert process.stdout and process.stdin
    line = process.stdout.readline().strip()
    assert line, (tmp_path / "cluster.log").read_text()[-3000:]
    below = psutil.Process(process.pid).children(recursive=True)
    yield line, psutil.Process(process.pid)
    process.stdin.close()
    process.wait(60)
    for child in below:
        if child.is_running():
            child.kill()


def start(job: Path, address: str, log: Path) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != "MSM_SERVE_KEY"}
    environment |= {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    words = [sys.executable, "-m", "msm_ray.cli", "run", str(job)]
    return subprocess.Popen(words, stdout=log.open("a"), stderr=subprocess.STDOUT, env=environment)


def wait_for(path: Path, process: subprocess.Popen, log: Path, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.3)


def test_a_killed_run_on_two_nodes_is_gone_on_with_and_its_arms_ask_for_their_key(
    cluster: tuple[str, psutil.Process], tmp_path: Path
) -> None:
    address, daemons = cluster
    root, log = tmp_path / "root", tmp_path / "log"
    job = tmp_path / "job.yaml"
    job.write_text(EXPERIMENT.format(root=root))
    process = start(job, address, log)
    note = root / "serve" / "serving.json"
    wait_for(note, process, log)
    process.send_signal(signal.SIGKILL)  # Serve, detached from its driver, stays up on the cluster
    process.wait(30)

    served = json.loads(note.read_text())
    assert note.stat().st_mode & 0o077 == 0  # the key is nobody else's to read
    assert served["address"].startswith(f"http://{own_address()}:")
    assert served["refused"] == {}
    check_models(served["address"], served["names"], served["key"])
    for shown in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{served['address']}/models", headers=shown), timeout=30)
        assert refused.value.code == 401
    ours = [one for one in listeners(daemons) if "ServeReplica" in one.process and not one.private]
    told = {(one.process.split()[0], one.address, one.port): answer_to_strangers(one.port) for one in ours}
    assert set(told.values()) == {"UNAUTHENTICATED"}, told  # what else listens is the cluster's own

    note.unlink()  # what a killed driver left
    process = start(job, address, log)
    wait_for(note, process, log)
    fresh = json.loads(note.read_text())
    assert fresh["key"] != served["key"]
    assert process.wait(600) == 0, log.read_text()[-3000:]
    said = log.read_text()
    assert "taking down what a run that has ended left serving" in said
    assert fresh["key"] not in said
    kinds = {a.stage for a in ArtifactStore(root).all()}
    assert {"midtrain", "sft", "rollouts", "verdicts", "report"} <= kinds
    assert not any(fresh["key"].encode() in path.read_bytes() for path in root.rglob("*") if path.is_file())
