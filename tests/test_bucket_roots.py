"""Artifacts below a root in a bucket: made, gone on with, found damaged, brought to disks; on a real server on loopback."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import s3_server
import small_root
from plain_nodes import plain
from test_graph import Garden, garden

from msm_ray import storage
from msm_ray.errors import MsmError, OutOfMeans, PreflightError, SettingsError, StageError
from msm_ray.graph import running
from msm_ray.graph.artifacts import commit, content_digest
from msm_ray.graph.heads import add_places, places
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node, graph_of
from msm_ray.graph.running import Wishes, Workplace
from msm_ray.graph.store import ArtifactStore
from msm_ray.look import listing, status
from msm_ray.look.cleaning import clean
from msm_ray.look.entries import read_root
from msm_ray.look.exporting import export
from msm_ray.look.show import show
from msm_ray.storage import lease
from msm_ray.storage.copies import CACHE

pytestmark = pytest.mark.real
NUMBER = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[s3_server.S3]:
    with s3_server.running() as s3:
        yield s3


@pytest.fixture
def root(server: s3_server.S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A root of its own in the bucket, and a cache of its own on the disk."""
    server.faults.__init__()  # type: ignore[misc]
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return storage.place(f"s3://{s3_server.BUCKET}/root-{next(NUMBER)}")


def test_a_graph_is_made_in_a_bucket_as_it_is_in_a_folder(root: Any, tmp_path: Path):
    here, there = Garden(tmp_path / "root"), Garden(root)
    assert here.run(garden()) == there.run(garden())
    assert there.run(garden()) == []
    digests = [[(a.stage, a.name, a.version, a.digest) for a in each.store.all()] for each in (here, there)]
    assert digests[0] == digests[1]
    assert len(digests[1]) == 7
    assert all(not wrong for _, wrong in there.store.verify())
    content = status.read(root)
    assert (content["state"], len(content["stages"])) == ("done", 7)


def test_changed_settings_are_stale_a_next_version_stands_beside_and_force_replaces(root: Any):
    there = Garden(root)
    there.run(garden())
    with pytest.raises(SettingsError, match="water: 0.5 there, 0.7 wanted"):
        there.run(garden(0.7))
    there.run(garden(0.7), new_version=True)
    assert sorted(p.name for p in root.glob("plant/*@*")) == ["north@1", "north@2", "south@1", "south@2"]
    before = storage.sizes(root / "plant/north@2")
    assert "plant/north" in there.run(garden(0.7), force=("plant/north",))
    assert storage.sizes(root / "plant/north@2") == before
    assert not list(root.glob("plant/.*"))


def test_what_is_damaged_in_a_bucket_is_named(root: Any):
    there = Garden(root)
    there.run(garden())
    (root / "plant/north@1/data").write_text("plant/nortH")
    (root / "plant/south@1/data").unlink()
    (root / "fruit/north@1/data").write_text("half")
    found = {label: wrong for label, wrong in there.store.verify() if wrong}
    assert found == {
        "plant/north@1": {"data": "has other content"},
        "plant/south@1": {"data": "is missing"},
        "fruit/north@1": {"data": "has 4 bytes, not 11"},
    }
    with pytest.raises(SettingsError, match=r"plant/south@1 is not what was committed: data is missing"):
        there.run(garden())


def test_a_run_on_another_machine_is_seen_to_live_whatever_its_clock_says(root: Any, monkeypatch: pytest.MonkeyPatch):
    Garden(root).run(garden())
    content = json.loads((root / "status.json").read_text())
    told = {**content, "state": "running", "host": "elsewhere", "updated": "2020-01-01T00:00:00Z"}
    (root / "status.json").write_text(json.dumps(told))
    assert status.read(root)["state"] == "running"
    monkeypatch.setattr(status, "SILENT", -1.0)
    assert status.read(root)["state"] == "gone"


def test_credentials_that_expire_in_the_middle_stop_the_run_and_the_next_goes_on(
    root: Any, server: s3_server.S3, monkeypatch: pytest.MonkeyPatch
):
    there = Garden(root)
    made: list[str] = []
    monkeypatch.setattr(lease, "_is_gone", lambda said: True)  # as of a process that ended
    for requests in (40, 70, 100, None):
        server.faults.requests, server.faults.expires_after = 0, requests
        try:
            there.run(garden())
        except MsmError as error:
            assert "credentials have expired; renew them" in str(error)
            assert isinstance(error, OutOfMeans | PreflightError)
        made += there.gardener.made
    server.faults.expires_after = None
    assert len(there.store.all()) == 7
    assert all(not wrong for _, wrong in there.store.verify())
    assert set(made) == {a.stage + "/" + a.name for a in there.store.all()}
    assert len(made) < 7 + 3 * 2, "what was committed was made again"


def test_an_edit_in_the_bucket_makes_stale_what_was_made_from_it(root: Any):
    there = Garden(root)
    there.run(garden())
    (root / "seeds/north@1/label.txt").write_text("bean")
    with (
        pytest.warns(UserWarning, match="label.txt was edited"),
        pytest.raises(SettingsError, match="input seeds/north"),
    ):
        there.run(garden())


@dataclass(frozen=True, kw_only=True)
class Lines(Node):
    """A stage that grows where it is kept; fails after as many rows as the machine says."""

    kind: ClassVar[str] = "lines"
    direct: ClassVar[bool] = True

    def make(self, work: Work[Lines], machine: Mapping[str, Any]) -> Counts:
        for number in range(len(places(work.out)), 6):
            if number == machine["fails_at"]:
                raise StageError("as it was told")
            add_places(work.out, [{"id": str(number)}])
            machine["made"].append(number)
        return {"rows": 6}


@dataclass(frozen=True, kw_only=True)
class Model(Node):
    """A stage of real files, renamed and appended to, made from lines."""

    kind: ClassVar[str] = "model"
    lines: Lines

    def make(self, work: Work[Model], machine: Mapping[str, Any]) -> Counts:
        assert isinstance(work.out, Path)
        source = work.folder(self.lines)
        assert isinstance(source, Path)
        with (work.out / ".weights.tmp").open("ab") as file:
            file.write(b"w" * len(places(source)))
        (work.out / ".weights.tmp").rename(work.out / "weights")
        machine["made"].append(f"model, {sorted(p.name for p in work.out.iterdir())}")
        if machine["fails_at"] == "model":
            raise StageError("as it was told")
        return {}


def made_on(root: Any, cache: Path, monkeypatch: pytest.MonkeyPatch, fails_at: Any = None) -> list[Any]:
    """What a run on a machine makes, which is known by its cache; failures of stages are what was told to happen."""
    monkeypatch.setenv(CACHE, str(cache))
    machine: dict[str, Any] = {"fails_at": fails_at, "made": []}

    @contextmanager
    def opened() -> Iterator[Any]:
        yield machine, lambda made, there: None

    store = ArtifactStore(root)
    place = Workplace("lab", cache / "logs", lambda todo, reporter: None, opened)
    with store.lock(), contextlib.suppress(StageError):
        running.run(graph_of([Model(name="m", lines=Lines(name="l"))], (Lines, Model)), store, Wishes(), place)
    return machine["made"]


def test_another_machine_goes_on_with_what_grows_and_begins_anew_what_was_on_a_disk(
    root: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one, two = tmp_path / "one", tmp_path / "two"
    assert made_on(root, one, monkeypatch, fails_at=3) == [0, 1, 2]
    assert made_on(root, two, monkeypatch, fails_at="model") == [3, 4, 5, "model, ['weights']"]
    assert storage.sizes(root / "model/m@1").keys() == {"draft.json"}
    kept = next(two.glob("*/desks/model/m@1"))
    (kept / "checkpoint").write_text("of two")
    assert made_on(root, two, monkeypatch, fails_at="model") == ["model, ['checkpoint', 'weights']"]
    assert made_on(root, one, monkeypatch) == ["model, ['weights']"]
    assert (root / "model/m@1/weights").read_bytes() == b"w" * 6
    assert made_on(root, two, monkeypatch) == []


def test_a_copy_on_the_disk_is_fetched_once_checked_and_known_by_its_digest(
    root: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made_on(root, tmp_path / "one", monkeypatch)
    monkeypatch.setenv(CACHE, str(tmp_path / "two"))
    copy = storage.here(root / "model/m@1")
    assert content_digest(copy) == content_digest(root / "model/m@1")
    (copy / "weights").write_bytes(b"changed")
    assert storage.here(root / "model/m@1") == copy
    shutil.rmtree(tmp_path / "two")
    (root / "model/m@1/weights").write_bytes(b"v" * 6)
    with pytest.raises(StageError, match="weights is not what was committed"):
        storage.here(root / "model/m@1")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(OutOfMeans, match=f"make room on .*{CACHE}"):
        storage.here(root / "model/m@1")
    assert not [path for path in (tmp_path / "two").rglob("*") if path.is_file()]


def test_a_node_that_is_lost_costs_what_came_after_its_last_whole_checkpoint(
    root: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, record = ArtifactStore(root).begin(plain("sft", "x", {}), {})

    def on(machine: str) -> Path:
        monkeypatch.setenv(CACHE, str(tmp_path / machine))
        return storage.desk(folder, record) / "checkpoints"

    for step in ("step-1", "step-2", "step-3"):
        (on("one") / step / "state").mkdir(parents=True)
        (on("one") / step / "state/rank-0").write_text(step)
        (on("one") / step / "facts").write_text("whole")
        storage.mirror(on("one") / step, "facts")
    storage.forget(on("one") / "step-1", "facts")
    (folder / "checkpoints/step-3/facts").unlink()  # cut off while it was put
    storage.bring_back(on("two"), "facts", lambda names: names[-2:])
    assert storage.sizes(on("two")) == {"step-2/facts": 5, "step-2/state/rank-0": 6}
    (on("two") / "step-2/facts").write_text("its own")
    storage.bring_back(on("two"), "facts", lambda names: names)
    assert (on("two") / "step-2/facts").read_text() == "its own"
    commit(on("two").parent, record, {})
    names = {name for name in storage.sizes(folder) if name.startswith("checkpoints")}
    assert names == {"checkpoints/step-2/facts", "checkpoints/step-2/state/rank-0"}


def test_the_commands_look_into_a_bucket_clean_it_and_take_things_out(
    root: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    store = ArtifactStore(root)
    small_root.make(store, "chats/talk", files={"data/a.txt": "a", "README.md": "b"}, counts={"rows": 2})
    small_root.make(store, "chats/talk", files={"data/a.txt": "a", "README.md": "b"})
    small_root.begin(store, "sft/x-s0")
    rows = listing.listed(storage.place(str(root)))
    assert [(row["kind"], row["state"], row["bytes"] > 0) for row in rows] == [
        ("chats", "old", True), ("chats", "present", True), ("sft", "draft", True),
    ]  # fmt: skip
    show(f"{root}/chats/talk", 1, 0)
    assert f"{root}/chats/talk@2" in capsys.readouterr().out
    export(f"{root}/chats/talk@1", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["README.md", "a.txt"]
    out = storage.place(f"{root}-out/talk")
    export(f"{root}/chats/talk@2", out)
    assert storage.sizes(out) == {"README.md": 1, "data/a.txt": 1}
    with pytest.raises(SettingsError, match="is there already"):
        export(f"{root}/chats/talk@1", out)
    clean(root, lambda question: True)
    assert [entry.label for entry in read_root(root)] == ["chats/talk@2"]
    left = {name for name in storage.sizes(root) if not name.startswith(".lease/")}
    assert left == {f"chats/talk@2/{name}" for name in ("COMMITTED", "README.md", "artifact.json", "data/a.txt")}


def test_a_commit_that_was_cut_off_anywhere_leaves_a_draft(root: Any, monkeypatch: pytest.MonkeyPatch):
    store, node = ArtifactStore(root), plain("chats", "talk", {})
    whole = type(root).write_bytes
    for name in ("artifact.json", "COMMITTED"):

        def cut(self: Any, data: bytes, name: str = name) -> int:
            if self.name == name:
                raise KeyboardInterrupt
            return whole(self, data)

        folder, record = store.begin(node, {})
        (folder / "data.txt").write_text("x")
        monkeypatch.setattr(type(root), "write_bytes", cut)
        with pytest.raises(KeyboardInterrupt):
            commit(folder, record, {})
        monkeypatch.undo()
        found = store.find(node, {})
        assert (found.state, found.draft) == ("missing", True)
        assert store.all() == []
    folder, record = store.begin(node, {})
    commit(folder, record, {})
    assert store.find(node, {}).state == "present"
