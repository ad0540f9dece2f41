"""The artifact contract: commit last, reuse what is equal, name what changed, never take a half for a whole."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from plain_nodes import plain

from msm_ray import whole_files
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.graph.artifacts import commit, content_digest, is_committed
from msm_ray.graph.store import ArtifactStore

OTHER = "has other content"
SETTINGS = {"rate": 0.1, "inner": {"steps": 5}}


def make(store: ArtifactStore, settings: dict, text: str = "data", anew: str | None = None, **inputs: str) -> Path:
    folder, record = store.begin(plain("sft", "x", settings), inputs, anew=anew)
    (folder / "data.txt").write_text(text)
    commit(folder, record, {"rows": 1})
    return folder


def test_equal_settings_are_present_and_a_changed_one_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert store.find(plain("sft", "x", SETTINGS), {}).state == "missing"
    make(store, SETTINGS)
    assert store.find(plain("sft", "x", SETTINGS), {}).state == "present"
    found = store.find(plain("sft", "x", {"rate": 0.1, "inner": {"steps": 6}}), {})
    assert found.state == "stale"
    assert found.changed == {"inner.steps": (5, 6)}


def test_a_changed_input_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    make(store, SETTINGS, blocks="one")
    assert store.find(plain("sft", "x", SETTINGS), {"blocks": "one"}).state == "present"
    assert store.find(plain("sft", "x", SETTINGS), {"blocks": "two"}).changed == {"input blocks": ("one", "two")}


def test_an_input_that_is_new_and_not_there_yet_is_a_change(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    folder, record = store.begin(plain("report", "x", {}), {"verdicts/a-s0": "1"})
    commit(folder, record, {})
    assert store.find(plain("report", "x", {}), {"verdicts/a-s0": "1"}).state == "present"
    assert store.find(plain("report", "x", {}), {"verdicts/a-s0": "1", "verdicts/a-s1": None}).state == "stale"


def test_without_its_marker_a_folder_is_a_draft_that_the_same_settings_go_on_with(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    folder, _ = store.begin(plain("sft", "x", SETTINGS), {})
    (folder / "half").write_text("half")
    found = store.find(plain("sft", "x", SETTINGS), {})
    assert (found.state, found.draft, found.artifact) == ("missing", True, None)
    assert store.begin(plain("sft", "x", SETTINGS), {})[0] == folder
    assert not is_committed(folder)


def test_a_draft_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    folder, _ = store.begin(plain("sft", "x", SETTINGS), {})
    (folder / "metrics.jsonl").write_text("{}\n")
    found = store.find(plain("sft", "x", {**SETTINGS, "rate": 0.2}), {})
    assert (found.state, found.draft) == ("stale", True)
    assert found.changed == {"rate": (0.1, 0.2)}


def test_a_draft_without_a_row_makes_room_for_other_settings(tmp_path: Path) -> None:
    """A stage that failed before its first row: the settings that made it fail can be changed, and nothing has to be forced."""
    store, other = ArtifactStore(tmp_path), {**SETTINGS, "rate": 0.2}
    folder, _ = store.begin(plain("rollouts", "x", SETTINGS), {})
    (folder / "logs").mkdir()
    (folder / "logs/x.eval").write_text("a transcript of nothing")
    (folder / "answers.jsonl").touch()
    assert store.find(plain("rollouts", "x", SETTINGS), {}).draft
    found = store.find(plain("rollouts", "x", other), {})
    assert (found.state, found.draft, found.changed) == ("missing", False, None)
    assert store.begin(plain("rollouts", "x", other), {})[0] == folder
    assert [path.name for path in folder.iterdir()] == ["draft.json"]
    (folder / "answers.jsonl").write_text("{}\n")
    assert store.find(plain("rollouts", "x", SETTINGS), {}).state == "stale"
    assert store.begin(plain("rollouts", "x", SETTINGS), {})[0].name == "x@2"


def test_a_draft_without_a_row_beside_a_committed_version_leaves_that_in_its_place(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    make(store, SETTINGS)
    draft, _ = store.begin(plain("sft", "x", {"rate": 0.2}), {}, anew="version")
    assert store.find(plain("sft", "x", {"rate": 0.3}), {}).state == "stale"
    assert store.begin(plain("sft", "x", {"rate": 0.3}), {}, anew="version")[0] == draft
    assert store.find(plain("sft", "x", SETTINGS), {}).state == "present"


def test_a_new_version_leaves_the_old_and_going_back_finds_it(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first = make(store, SETTINGS)
    second = make(store, {"rate": 0.2}, anew="version")
    assert (first.name, second.name) == ("x@1", "x@2")
    found = store.find(plain("sft", "x", SETTINGS), {})
    assert found.artifact and found.artifact.version == 1


def test_versions_count_as_numbers(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    for number in range(1, 12):
        make(store, {"rate": number}, anew="version")
    found = store.find(plain("sft", "x", {"rate": 99}), {})
    assert found.artifact and found.artifact.version == 11  # not 9, which sorts last as text


def test_a_new_version_that_was_interrupted_is_gone_on_with(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    make(store, SETTINGS)
    folder, _ = store.begin(plain("sft", "x", {"rate": 0.2}), {}, anew="version")
    found = store.find(plain("sft", "x", {"rate": 0.2}), {})
    assert (found.state, found.draft) == ("missing", True)
    assert store.begin(plain("sft", "x", {"rate": 0.2}), {})[0] == folder


def test_force_takes_the_place_of_the_newest(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    folder = make(store, SETTINGS, "old")
    assert make(store, SETTINGS, "new", anew="force") == folder
    assert (folder / "data.txt").read_text() == "new"


def test_an_input_made_by_the_same_worker_group_is_filled_in_at_commit(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    parent, parent_record = store.begin(plain("midtrain", "p", {}), {})
    child, record = store.begin(plain("sft", "c", {}), {"midtrain/p": None})
    (parent / "w").write_text("weights")
    commit(parent, parent_record, {})
    commit(child, {**record, "pending": {"midtrain/p": str(parent)}}, {})
    digest = store.find(plain("midtrain", "p", {}), {}).artifact.digest  # type: ignore[union-attr]
    assert store.find(plain("sft", "c", {}), {"midtrain/p": digest}).state == "present"
    assert store.find(plain("sft", "c", {}), {"midtrain/p": "other"}).state == "stale"


def test_the_digest_is_of_names_and_bytes_and_not_of_the_record(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    folder = make(store, SETTINGS)
    before = content_digest(folder)
    (folder / "artifact.json").write_text("{}")
    assert content_digest(folder) == before
    (folder / "data.txt").rename(folder / "other.txt")
    assert content_digest(folder) != before


def test_a_record_that_cannot_be_read_is_an_error_and_not_a_missing_artifact(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    (make(store, SETTINGS) / "artifact.json").write_text("{ cut off")
    with pytest.raises(SettingsError, match="unreadable record"):
        store.find(plain("sft", "x", SETTINGS), {})


def test_two_runs_do_not_write_below_one_root(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with store.lock(), pytest.raises(PreflightError, match="another msm run"), ArtifactStore(tmp_path).lock():
        pass
    with store.lock():  # and it is free again
        pass


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreflightError, match="cannot write there"), ArtifactStore(tmp_path / "file").lock():
        pass


@pytest.fixture
def made(tmp_path: Path) -> tuple[ArtifactStore, Path]:
    store = ArtifactStore(tmp_path)
    folder, record = store.begin(plain("documents", "x", SETTINGS, frozenset({"outline.yaml"})), {})
    (folder / "data").mkdir()
    for name in ("data/a.parquet", "data/b.parquet", "outline.yaml"):
        (folder / name).write_text(f"what is in {name}")
    (folder / "large").write_bytes(bytes(2**20 + 1))
    commit(folder, record, {"rows": 1})
    return store, folder


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "data/b.parquet").unlink(), {"data/b.parquet": "is missing"}),
        (lambda folder: (folder / "data/a.parquet").write_text(""), {"data/a.parquet": "is empty"}),
        (lambda folder: (folder / "large").write_text("x"), {"large": "has 1 bytes, not 1,048,577"}),
        (lambda folder: (folder / "data/a.parquet").write_text("what is in data/b.parquet"), {"data/a.parquet": OTHER}),
        (lambda folder: (folder / "data/c.parquet").write_text("x"), {"data/c.parquet": "was not there"}),
        (lambda folder: (folder / "COMMITTED").write_text(""), {"COMMITTED": "is not this artifact's"}),
        (lambda folder: (folder / "outline.yaml").write_text(""), {"outline.yaml": "is empty"}),
        (lambda folder: (folder / "artifact.json").unlink(), {"x@1": "is neither whole nor begun: it was copied halfway"}),
        (lambda folder: (folder / "COMMITTED").unlink(), {"x@1": "is neither whole nor begun: it was copied halfway"}),
    ],
)  # fmt: skip
def test_what_is_not_what_was_committed_is_named_before_it_is_used(
    made: tuple[ArtifactStore, Path], harm: Callable[[Path], object], told: dict[str, str]
) -> None:
    store, folder = made
    assert store.find(plain("documents", "x", SETTINGS), {}).state == "present"
    harm(folder)
    found = store.find(plain("documents", "x", SETTINGS), {})
    assert (found.state, found.damage) == ("damaged", told)
    assert dict(store.verify()) == {"documents/x@1": told}


def test_every_byte_is_read_only_where_it_is_asked_for(made: tuple[ArtifactStore, Path]) -> None:
    store, folder = made
    (folder / "large").write_bytes(bytes(2**20) + b"1")
    assert store.find(plain("documents", "x", SETTINGS), {}).state == "present"
    assert dict(store.verify()) == {"documents/x@1": {"large": "has other content"}}


def test_what_a_file_manager_leaves_is_no_damage_and_an_empty_folder_neither(made: tuple[ArtifactStore, Path]) -> None:
    store, folder = made
    (folder / "data" / ".DS_Store").write_text("x")
    (store.root / "documents" / "y@1").mkdir()
    (store.root / "documents" / "y@1" / ".draft.json.7.tmp").write_text("{")  # killed as it began
    assert store.find(plain("documents", "x", SETTINGS), {}).state == "present"
    assert store.find(plain("documents", "y", SETTINGS), {}).state == "missing"


def test_an_edited_outline_is_used_as_it_is_now_and_is_another_input(made: tuple[ArtifactStore, Path]) -> None:
    store, folder = made
    before = store.find(plain("documents", "x", SETTINGS), {})
    (folder / "outline.yaml").write_text("what people wrote")
    now = store.find(plain("documents", "x", SETTINGS), {})
    assert (now.state, now.edited) == ("present", ("outline.yaml",))
    assert now.artifact and before.artifact and now.artifact.digest != before.artifact.digest
    assert now.artifact.digest == content_digest(folder)


def test_a_damaged_artifact_can_be_forced_and_an_interrupted_removal_is_no_damage(
    made: tuple[ArtifactStore, Path],
) -> None:
    store, folder = made
    (folder / "large").unlink()
    folder.rename(folder.with_name(".x@1.removed"))  # as a killed `--force` leaves it
    assert store.find(plain("documents", "x", SETTINGS), {}).state == "missing"
    assert dict(store.verify()) == {} and store.all() == []
    assert store.begin(plain("documents", "x", SETTINGS), {})[0] == folder
    assert not folder.with_name(".x@1.removed").exists()


def test_a_moved_root_is_the_same_root(made: tuple[ArtifactStore, Path], tmp_path: Path) -> None:
    store, folder = made
    moved = store.root.with_name("moved here")
    store.root.rename(moved)
    there = ArtifactStore(moved)
    assert there.find(plain("documents", "x", SETTINGS), {}).state == "present"
    assert dict(there.verify()) == {"documents/x@1": {}}
    assert not [p for p in moved.rglob("*") if p.is_file() and str(tmp_path).encode() in p.read_bytes()]


def test_a_file_system_that_cannot_settle_folders_is_used_and_a_failing_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def only_files(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(number)

    monkeypatch.setattr(whole_files.os, "fsync", only_files)
    make(ArtifactStore(tmp_path), SETTINGS)

    def broken(number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(whole_files.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        make(ArtifactStore(tmp_path), {"rate": 2})
