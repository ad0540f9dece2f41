"""Whole runs that are interrupted at every place: the same command ends with the same bytes (`make soak`).

`test_whole_run.py` has a short one of each.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from whole_run import (
    OFFLINE,
    WholeRun,
    alive,
    digests,
    finish,
    interrupt,
    kill_before_commits,
    rates,
    tidy_up,
)

from msm_ray.graph.store import ArtifactStore
from msm_ray.rows.tables import read_rows

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

DETERMINISTIC = ("base", "outline", "corpus", "replay", "chats", "items", "blocks", "verdicts", "report")


@pytest.fixture(scope="module")
def done(whole_run: WholeRun) -> Path:
    """The root of a whole run."""
    return whole_run.root


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a training with offline documents, every stage of which is deterministic."""
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    finish(root, "train", OFFLINE)
    return root


def test_after_signals_and_kill_the_same_command_ends_with_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    code, below = interrupt(torn, "train", signal.SIGTERM, lambda: any(torn.glob("documents/*/draft.json")), OFFLINE)
    assert code == 130
    assert alive(below, 30) == []
    code, below = interrupt(torn, "train", signal.SIGINT, lambda: any(torn.glob("midtrain/*/metrics.jsonl")), OFFLINE)
    assert code == 130
    assert alive(below, 30) == []
    code, below = interrupt(torn, "train", signal.SIGKILL, lambda: any(torn.glob("sft/*/metrics.jsonl")), OFFLINE)
    assert code == -signal.SIGKILL
    tidy_up(below)
    finish(torn, "train", OFFLINE)
    assert digests(torn) == digests(undisturbed)
    assert len(digests(undisturbed)) > 25


def test_each_stage_killed_before_it_is_committed_ends_with_the_same_bytes(done: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(done, root)
    for kind in DETERMINISTIC:
        shutil.rmtree(root / kind)
    kill_before_commits(
        root, DETERMINISTIC, (".artifact.json.", ".COMMITTED.")
    )  # data without record, record without mark
    finish(root, "run")
    assert not list(root.glob("*/*/.*.tmp"))
    assert digests(root) == digests(done)
    assert rates(root) == rates(done)


def test_sigterm_while_vllm_writes_leaves_no_process_and_every_row_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    more = ("documents.documents=300", "documents.batch_size=8")
    code, below = interrupt(root, "generate", signal.SIGTERM, lambda: any(root.glob("documents/*/data/*")), *more)
    assert code == 130
    assert alive(below, 30) == []
    assert not list(root.glob("documents/*/COMMITTED"))
    before = {path: path.read_bytes() for path in root.glob("documents/*/data/*")}
    assert before
    finish(root, "generate", *more)
    assert all(path.read_bytes() == written for path, written in before.items())
    for folder in root.glob("documents/*/"):
        ids = [row["id"] for part in ("data", "rejected") for row in read_rows(folder / part)]
        assert len(ids) == len(set(ids)) == 300


def test_rollouts_killed_while_serving_are_asked_exactly_once(done: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(done, root)
    for kind in ("rollouts", "verdicts", "report"):
        shutil.rmtree(root / kind)
    code, below = interrupt(root, "run", signal.SIGTERM, lambda: any(root.glob("rollouts/*/COMMITTED")))
    assert code == 130
    assert alive(below, 30) == []  # Serve and its engine among them
    code, below = interrupt(root, "run", signal.SIGKILL, lambda: len(list(root.glob("rollouts/*/COMMITTED"))) > 2)
    assert code == -signal.SIGKILL
    before = {a.name: a.digest for a in ArtifactStore(root).all() if a.stage == "rollouts"}
    tidy_up(below)
    finish(root, "run")
    after = {a.name: a for a in ArtifactStore(root).all() if a.stage == "rollouts"}
    assert {name: after[name].digest for name in before} == before
    asked = {a.name: a.counts["rows"] for a in ArtifactStore(done).all() if a.stage == "rollouts"}
    assert {name: a.counts["rows"] for name, a in after.items()} == asked
