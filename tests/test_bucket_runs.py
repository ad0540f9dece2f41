"""Whole runs from recordings below a root in a bucket: killed, gone on with from another machine, and two at the same time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import s3_server

from msm_ray import storage
from msm_ray.graph.store import ArtifactStore
from msm_ray.rows.tables import read_rows
from msm_ray.storage.copies import CACHE

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def start(root: Any, machine: Path) -> subprocess.Popen:
    """The method from recordings, which needs no Ray. machine: where its copies lie."""
    machine.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "msm_ray.cli", "run", "jobs/recorded.yaml", f"root={root}"]
    with (machine / "log").open("a") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env=os.environ | {CACHE: str(machine)})


def wait_for(process: subprocess.Popen, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


def rows_of(folder: Any) -> list[str]:
    """The rows of a folder of Parquet files, however they are spread over files."""
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in read_rows(folder))


def test_a_killed_run_goes_on_elsewhere_a_second_is_refused_and_all_comes_out_as_in_a_folder(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with s3_server.running() as s3:
        root = storage.place(f"s3://{s3_server.BUCKET}/recorded")
        first = start(root, one)
        wait_for(first, lambda: any(root.glob("documents/*/COMMITTED")))
        first.send_signal(signal.SIGKILL)
        first.wait()
        s3.faults.refuse_every, s3.faults.cut, s3.faults.cuts = 50, "/data/", 3
        s3.faults.slow = 0.1  # so that the first is still there when the second has started
        first = start(root, one)
        wait_for(
            first, lambda: (one / "log").read_text().count("stages to make, in") == 2
        )  # it has waited for the dead
        second = start(root, two)
        assert second.wait(timeout=120) == 3
        assert "another msm run (process" in (two / "log").read_text()
        s3.faults.slow = 0.0
        wait_for(first, lambda: any(root.glob("written-chats/*/draft.json")))
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=120) == 130
        assert start(root, two).wait(timeout=300) == 0, (two / "log").read_text()[-2000:]
        assert s3.faults.refused > 0 and s3.faults.was_cut == 3
        there = ArtifactStore(root)
        assert all(not wrong for _, wrong in there.verify())
        assert start(tmp_path / "folder", two).wait(timeout=300) == 0
        made = [{(a.stage, a.name): a for a in store.all()} for store in (there, ArtifactStore(tmp_path / "folder"))]
        assert made[0].keys() == made[1].keys()
        for key, ours in made[0].items():
            other = made[1][key]
            if key[0] == "written-chats":  # how its answers lie in files depends on when it was ended
                for folder in ("data", "rejected", "answers"):
                    assert rows_of(ours.folder / folder) == rows_of(other.folder / folder), key
            else:
                assert ours.digest == other.digest, key
        assert len(made[0]) == 22
