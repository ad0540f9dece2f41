"""Who may write below a root in a bucket: two runs, on one machine and on two whose clocks differ; on a server on loopback."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import s3_server

from msm_ray import storage
from msm_ray.errors import OutOfMeans, PreflightError
from msm_ray.graph.artifacts import commit
from msm_ray.graph.store import ArtifactStore
from msm_ray.storage import lease
from msm_ray.storage.lease import Times, held, holder

pytestmark = pytest.mark.real
NUMBER = itertools.count()
QUICK = Times(renew=0.1, gives_up=0.6, patience=1.2)


@pytest.fixture(scope="module")
def server() -> Iterator[s3_server.S3]:
    with s3_server.running() as s3:
        yield s3


@pytest.fixture
def root(server: s3_server.S3) -> Any:
    server.faults.__init__()  # type: ignore[misc]
    return storage.place(f"s3://{s3_server.BUCKET}/lease-{next(NUMBER)}")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of a holder can be looked at: it is on another machine."""
    monkeypatch.setattr(lease, "_processes", lambda: "")


def numbers(root: Any) -> list[int]:
    return sorted(int(path.stem) for path in (root / lease.FOLDER).glob("*.json"))


def leave(root: Any, number: int, **said: Any) -> None:
    """A lease as a run leaves it that was killed."""
    lease._put(root, number, {**lease._said(7), **said})


def test_one_after_the_other_hold_a_root_and_need_not_wait(root: Any):
    began = time.monotonic()
    for number in (1, 2, 3):
        with held(root, Times()) as mine:
            assert mine.number == number
            assert holder(root)
            (root / "x").write_text("mine")
        assert numbers(root) == [number]
        assert not holder(root)
    assert time.monotonic() - began < 30


def test_a_run_that_lives_is_not_disturbed_and_named_to_the_other(root: Any, elsewhere: None):
    with (
        held(root, QUICK),
        pytest.raises(PreflightError, match=r"another msm run \(process \d+ on .+\) is writing there"),
        held(root, QUICK),
    ):
        raise AssertionError
    assert numbers(root) == [1]


def test_a_run_that_was_killed_here_is_known_to_be_gone_at_once(root: Any):
    leave(root, 4, pid=2**22 + 1)
    assert not holder(root)
    began = time.monotonic()
    with held(root) as mine:
        assert mine.number == 5
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("off", [-86_400.0, 86_400.0])
def test_one_that_was_killed_elsewhere_is_waited_for_whatever_the_clocks_say(
    root: Any, elsewhere: None, off: float, monkeypatch: pytest.MonkeyPatch
):
    leave(root, 4)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + off)
    began = time.monotonic()
    with held(root, QUICK) as mine:
        assert mine.number == 5
    assert time.monotonic() - began >= QUICK.patience


def test_of_several_who_find_one_gone_a_single_one_takes_its_place(root: Any, elsewhere: None):
    leave(root, 4)
    held_at_once, most, refused = [], [], []

    def run() -> None:
        try:
            with held(root, QUICK, on_lost=lambda: None) as mine:
                held_at_once.append(mine.number)
                most.append(len(held_at_once))
                time.sleep(0.5)
                held_at_once.remove(mine.number)
        except PreflightError:
            refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 3


def test_a_holder_that_cannot_renew_stops_before_another_may_begin(
    server: s3_server.S3, root: Any, monkeypatch: pytest.MonkeyPatch
):
    lost, patient = threading.Event(), replace(QUICK, patience=8.0)  # a busy machine takes its time for the rest
    began = time.monotonic()
    with pytest.raises(OutOfMeans, match="no longer holds the root"), held(root, patient, on_lost=lost.set):
        monkeypatch.setattr(lease, "_put", lambda *given: (_ for _ in ()).throw(TimeoutError("no answer")))
        assert lost.wait(20)
        assert time.monotonic() - began < patient.patience
        with pytest.raises(OutOfMeans, match="stops before two runs write"):
            (root / "documents/x@1/data").write_text("late")
    assert not (root / "documents/x@1/data").exists()


def test_one_that_slept_too_long_finds_another_in_its_place_and_writes_nothing(
    root: Any, monkeypatch: pytest.MonkeyPatch
):
    """Its process stood still, as in a suspended machine: no thread of it noticed anything."""
    still = Times(renew=1000, gives_up=0.3, patience=0.5)
    with pytest.raises(OutOfMeans), held(root, still, on_lost=lambda: None):
        (root / "x").write_text("in time")
        time.sleep(0.4)
        (root / "x").write_text("nobody came meanwhile: it is asked for, and still its own")
        time.sleep(0.4)
        leave(root, 2)
        with pytest.raises(OutOfMeans, match="another run has taken it over"):
            (root / "x").write_text("late")
        assert (root / "x").read_text() != "late"
        (storage.place(f"s3://{s3_server.BUCKET}/beside") / "x").write_text("under no lease")
    assert numbers(root) == [1, 2]


def test_a_worker_of_a_run_that_was_lost_commits_nothing(
    root: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: None
):
    monkeypatch.setenv("MSM_CACHE", str(tmp_path))
    folder, record = root / "sft/x@1", {"inputs": {}, "begun": "b", "editable": [], "format": 2}
    with held(root, QUICK):
        desk = storage.desk(folder, record)
        (desk / "weights").write_text("w")
    leave(root, 2)  # another's; the worker, on its node, knows of none
    with pytest.raises(OutOfMeans, match="another run has taken the root over"):
        commit(desk, record, {})
    assert storage.sizes(folder) == {}


def test_a_server_that_overwrites_what_it_was_asked_not_to_is_refused(root: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(root), "create", lambda self, data: bool(self.write_bytes(data)))
    with pytest.raises(PreflightError, match="If-None-Match"), held(root, QUICK):
        raise AssertionError


def test_the_store_of_a_root_in_a_bucket_is_locked_by_it(root: Any, elsewhere: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "Times", lambda: QUICK)
    with ArtifactStore(root).lock(), pytest.raises(PreflightError, match="another msm run"), ArtifactStore(root).lock():
        raise AssertionError
    said = json.loads((root / lease.FOLDER / "00000001.json").read_text())
    assert said["released"]
