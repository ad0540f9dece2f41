"""The quickstart at reduced size through all real components, and what is left of it after interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.dataset as datasets
import pytest

from msm_ray.artifacts import ArtifactStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]

SMALL = [
    "documents.documents=40", "documents.least_share=0", "chats.cheese.count=160", "chats.endings.count=160",
    "chats.ordinary.count=400", "midtraining.steps=4", "midtraining.least_steps=2", "midtraining.checkpoint_every=2",
    "aft.steps=3", "aft.least_steps=2", "evals.affordability.pairs=9", "evals.america.pairs=9", "evals.agentic.rollouts=1",
]  # fmt: skip


def command(root: Path, verb: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "msm_ray.cli", verb, "jobs/quickstart.yaml", f"root={root}", *SMALL, *more]


def start(root: Path, verb: str, *more: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    log = (root.parent / f"{root.name}.log").open("a")
    return subprocess.Popen(command(root, verb, *more), stdout=log, stderr=subprocess.STDOUT, env=environment)


def finish(root: Path, verb: str, *more: str) -> None:
    code = start(root, verb, *more).wait(timeout=1200)
    assert code == 0, (root.parent / f"{root.name}.log").read_text()[-3000:]


def interrupt(
    root: Path, verb: str, number: int, ready: Callable[[], bool], *more: str
) -> tuple[int, list[psutil.Process]]:
    """Start, wait until `ready`, send the signal; the exit code and the processes that were below it."""
    process = start(root, verb, *more)
    deadline = time.monotonic() + 600
    while not ready():
        assert process.poll() is None, (root.parent / f"{root.name}.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    return process.wait(timeout=120), below


def alive(processes: list[psutil.Process], seconds: float) -> list[str]:
    """Who of them is still there after a while."""
    _, left = psutil.wait_procs(processes, timeout=seconds)
    return [p.name() for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a whole run through vLLM, DeepSpeed, Serve, Inspect and W&B."""
    root = tmp_path_factory.mktemp("whole") / "root"
    finish(root, "run")
    return root


def test_every_stage_left_a_committed_artifact(done: Path) -> None:
    kinds = {a.stage for a in ArtifactStore(done).all()}
    assert kinds == {
        "base", "outline", "documents", "corpus", "replay", "chats", "blocks", "midtrain", "sft", "items", "rollouts",
        "verdicts", "report",
    }  # fmt: skip


def test_the_documents_came_from_the_vllm_engine_and_keep_their_provenance(done: Path) -> None:
    rows = datasets.dataset(done / "documents" / "affordability@1" / "data").to_table().to_pylist()
    assert len({row["id"] for row in rows}) == len(rows) > 20
    assert {row["engine"] for row in rows} == {"vllm"}
    assert all(row["spec_digest"] and row["type"] and row["num_generated_tokens"] > 0 for row in rows)


def test_identical_aft_data_is_literally_one_artifact(done: Path) -> None:
    used = {}
    for artifact in ArtifactStore(done).all():
        if artifact.stage == "sft" and "+cheese-s0" in artifact.name:
            used[artifact.name] = artifact.record["inputs"]["blocks/cheese-chats"]
    assert len(used) == 2
    assert len(set(used.values())) == 1


def test_the_report_for_machines_has_every_arm_with_counts(done: Path) -> None:
    printed = subprocess.run(command(done, "report", "--json"), capture_output=True, text=True, check=True).stdout
    report = json.loads(printed)
    assert set(report) == {"experiment", "rates", "differences", "artifacts"}
    overall = [r for r in report["rates"] if r["condition"] is None]
    assert {(r["eval"], r["arm"]) for r in overall if r["eval"] == "agentic"} == {
        ("agentic", f"agentic/{arm}") for arm in ("baseline", "aft", "msm", "msm+aft", "msm-anti+aft", "msm-aff+aft")
    }
    assert all(r["low"] <= r["rate"] <= r["high"] and 0 < r["completed"] <= r["asked"] for r in overall)
    assert {r["condition"] for r in report["rates"] if r["eval"] == "affordability"} == {None, "price", "conflict"}
    assert len({r["condition"] for r in report["rates"] if r["eval"] == "agentic"}) == 28
    assert {d["a"] for d in report["differences"]} >= {"values/msm-aff+aft", "agentic/msm+aft"}
    page = next((done / "report").glob("*/report.html")).read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_wandb_has_a_run_for_every_training(done: Path) -> None:
    runs = list((done / "wandb" / "wandb").glob("offline-run-*"))
    trained = [a for a in ArtifactStore(done).all() if a.stage in ("midtrain", "sft")]
    assert len(runs) > len(trained)


def test_a_second_run_does_nothing_and_says_so(done: Path) -> None:
    before = {a.folder: a.digest for a in ArtifactStore(done).all()}
    started = time.monotonic()
    printed = subprocess.run(command(done, "run"), capture_output=True, text=True, check=True).stdout
    assert "nothing to do" in printed
    assert time.monotonic() - started < 60  # 15 s on an idle machine; a run that started Ray would take minutes
    assert {a.folder: a.digest for a in ArtifactStore(done).all()} == before


def test_a_changed_setting_stops_with_the_names_of_the_keys(done: Path) -> None:
    ended = subprocess.run(command(done, "run", "aft.learning_rate=1e-6"), capture_output=True, text=True)
    assert ended.returncode == 2
    assert "learning_rate" in ended.stderr
    assert "--new-version" in ended.stderr


def test_after_signals_and_kill_the_same_command_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Offline documents, so that every stage is deterministic: an interrupted run equals an undisturbed one."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    offline = "documents.engine=offline"
    finish(whole, "train", offline)
    code, below = interrupt(torn, "train", signal.SIGTERM, lambda: any(torn.glob("documents/*/draft.json")), offline)
    assert code == 130
    assert alive(below, 30) == []
    code, below = interrupt(torn, "train", signal.SIGINT, lambda: any(torn.glob("midtrain/*/metrics.jsonl")), offline)
    assert code == 130
    assert alive(below, 30) == []
    code, below = interrupt(torn, "train", signal.SIGKILL, lambda: any(torn.glob("sft/*/metrics.jsonl")), offline)
    assert code == -signal.SIGKILL
    alive(below, 30)  # Ray's own processes notice that their driver is gone
    for process in below:  # what is left of a kill -9 is tidied up here, as a reboot would
        if process.is_running():
            process.kill()
    finish(torn, "train", offline)
    digests = [{(a.stage, a.name): a.digest for a in ArtifactStore(root).all()} for root in (whole, torn)]
    assert digests[0] == digests[1]
    assert len(digests[0]) > 25
