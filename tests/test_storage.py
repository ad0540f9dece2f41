"""The room between artifacts and where they lie: paths, whole files and errors of a bucket, against a real server on loopback."""

from __future__ import annotations

import asyncio
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import s3_server
from test_preflight import findings

from msm_ray import ahead, cli, storage
from msm_ray.corpus.looks import LooksAhead, Rules, places
from msm_ray.corpus.settings import CheckContent
from msm_ray.engines.spending import Account, Spending
from msm_ray.errors import MsmError, OutOfMeans, PreflightError, SettingsError
from msm_ray.preflight import Refused, refuse
from msm_ray.rows.journal import read_journal
from msm_ray.rows.pieces import Part
from msm_ray.rows.schemas import DOCUMENT_SCHEMA
from msm_ray.rows.tables import count_rows, read_rows, read_table, write_table
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.whole_files import add_line, write_whole
from msm_ray.worlds import world

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])


@pytest.fixture(scope="module")
def server() -> Iterator[s3_server.S3]:
    with s3_server.running() as s3:
        yield s3


@pytest.fixture
def s3(server: s3_server.S3) -> Iterator[s3_server.S3]:
    """A server with nothing wrong with it yet."""
    server.faults.__init__()  # type: ignore[misc]
    yield server
    server.faults.__init__()  # type: ignore[misc]


@pytest.fixture
def root(s3: s3_server.S3, request: pytest.FixtureRequest) -> Any:
    return storage.place(f"s3://{s3_server.BUCKET}/{request.node.name}")


def test_a_folder_stays_a_path_and_other_addresses_are_refused():
    assert storage.place("runs/x") == Path("runs/x")
    assert storage.local(Path("runs/x")) == Path("runs/x")
    for given in ("ftp://host/x", "s3:/lab/x", "s3:///x", "hdfs://host/x"):
        with pytest.raises(SettingsError, match="s3://BUCKET/PREFIX"):
            storage.place(given)


@pytest.mark.parametrize("name", ["sft/x@1/checkpoints", "anywhere"])
def test_checkpoints_of_a_folder_are_where_they_are(tmp_path: Path, name: str):
    kept = tmp_path / name / "step-1"
    kept.mkdir(parents=True)
    write_whole(kept / "facts", "x")
    storage.mirror(kept, "facts")
    storage.bring_back(kept.parent, "facts", lambda names: names)
    assert storage.sizes(tmp_path) == {f"{name}/step-1/facts": 1}
    storage.forget(kept, "facts")
    assert storage.sizes(tmp_path) == {}


def test_a_path_in_a_bucket_goes_to_workers_and_is_the_same_there(root: Any):
    again = pickle.loads(pickle.dumps(root / "documents" / "x@1"))
    assert again == root / "documents/x@1"
    assert str(again) == f"{root}/documents/x@1"
    write_whole(again / "a.txt", "é\n")
    assert (root / "documents/x@1/a.txt").read_text(encoding="utf-8") == "é\n"


def test_globs_find_what_they_find_in_folders(root: Any, tmp_path: Path):
    names = [
        "k/x@1/data/a.parquet",
        "k/x@1/COMMITTED",
        "k/x@10/data/b.parquet",
        "k/.x@2.removed",
        ".lease/1.json",
        "top.txt",
    ]
    patterns = [
        "[!.]*/[!.]*@*",
        "[!.]*/[!.]*/COMMITTED",
        "*/.*@*.removed",
        "k/x@*",
        "k/x@1/data/*.parquet",
        "nothing/*",
    ]
    for each in (root, tmp_path):
        for name in names:
            (each / name).parent.mkdir(parents=True, exist_ok=True)
            (each / name).write_text(name)
        found = {pattern: sorted(p.relative_to(each).as_posix() for p in each.glob(pattern)) for pattern in patterns}
        assert found["[!.]*/[!.]*@*"] == ["k/x@1", "k/x@10"]
        assert found["[!.]*/[!.]*/COMMITTED"] == ["k/x@1/COMMITTED"]
        assert found["*/.*@*.removed"] == ["k/.x@2.removed"]
        assert found["k/x@1/data/*.parquet"] == ["k/x@1/data/a.parquet"]
        assert found["nothing/*"] == []
        assert storage.sizes(each) == {name: len(name) for name in names}


def test_what_a_with_did_not_finish_is_not_put(root: Any):
    with pytest.raises(ZeroDivisionError), (root / "half.txt").open("w", encoding="utf-8") as file:
        file.write("half")
        raise ZeroDivisionError
    assert not (root / "half.txt").exists()


def test_tables_are_read_as_they_were_written(root: Any, tmp_path: Path):
    rows = [{"id": str(number), "text": "word " * number} for number in range(50)]
    for folder in (root / "data", tmp_path):
        for part in range(5):
            write_table(folder / f"part-{part}.parquet", rows[part * 10 : part * 10 + 10], SCHEMA)
        assert list(read_rows(folder)) == rows
        assert read_table(folder / "part-2.parquet", ["id"]).column_names == ["id"]
        assert count_rows(folder / "part-4.parquet") == 10


def test_a_journal_grows_in_a_bucket(root: Any):
    assert read_journal(root / "spend.jsonl") == []
    for number in range(3):
        add_line(root / "spend.jsonl", f'{{"dollars": {number}}}')
    assert [line["dollars"] for line in read_journal(root / "spend.jsonl")] == [0, 1, 2]


def test_what_requests_cost_is_put_into_a_bucket_together_and_added_up_at_the_next_start(s3: s3_server.S3, root: Any):
    async def run() -> Account:
        account = Account(str(root / "spend.jsonl"), 1000.0, 0.0)
        told = await asyncio.gather(*(account.settle(1.0, 0.25, {"id": number}) for number in range(200)))
        assert set(told) == {""}
        return account

    s3.faults.slow = 0.02
    assert asyncio.run(run()).spent == 50
    assert len(list((root / "spend.jsonl.d").glob("*"))) < 20
    assert Spending(root / "spend.jsonl").account().spent == 50


def test_a_slow_server_that_refuses_every_third_request_loses_nothing(s3: s3_server.S3, root: Any):
    s3.faults.slow, s3.faults.refuse_every = 0.02, 4
    for number in range(4):
        write_table(root / f"data/part-{number}.parquet", [{"id": str(number), "text": "x"}], SCHEMA)
    assert [row["id"] for row in read_rows(root / "data")] == ["0", "1", "2", "3"]
    assert s3.faults.refused > 1


def test_an_upload_cut_in_the_middle_is_there_whole_or_not_at_all(s3: s3_server.S3, root: Any):
    s3.faults.cut, s3.faults.cuts = "once", 1
    (root / "once.bin").write_bytes(b"x" * 300_000)
    assert s3.faults.was_cut == 1
    assert storage.sizes(root) == {"once.bin": 300_000}


@pytest.mark.parametrize(
    ("fault", "says"), [({"expires_after": 0}, "credentials have expired; renew"), ({"skewed": True}, "clock is off")]
)
def test_no_question_is_answered_by_no_when_it_could_not_be_asked(
    s3: s3_server.S3, root: Any, fault: dict[str, Any], says: str
):
    (root / "x").write_text("there")
    for name, value in fault.items():
        setattr(s3.faults, name, value)
    asked = (
        (root / "x").exists, (root / "x").is_file, root.is_dir, (root / "x").read_text, (root / "x").stat,
        lambda: list(root.glob("*")), lambda: list(root.glob("[!.]*/x@*")), lambda: list((root / "k").glob("x@*")),
        lambda: storage.sizes(root), lambda: (root / "x").write_text("new"),
        lambda: (root / "x").unlink(), lambda: storage.remove(root),
    )  # fmt: skip
    for ask in asked:
        with pytest.raises(OutOfMeans, match=says) as told:
            ask()
        assert "secret-of-tests" not in str(told.value)
        assert "key-of-tests" not in str(told.value)
    with pytest.raises(PreflightError, match=says):
        storage.probe(root)


def test_a_bucket_that_is_not_there_is_told_and_not_made(s3: s3_server.S3):
    absent = storage.place("s3://absent-bucket/runs")
    with pytest.raises(PreflightError, match="no such bucket; make it"):
        storage.probe(absent)
    with pytest.raises(OutOfMeans, match="s3://absent-bucket: there is no such bucket"):
        (absent / "x").write_text("x")
    absent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(MsmError):
        storage.probe(absent)


def test_a_removal_that_was_killed_is_finished_by_who_comes_next(root: Any, monkeypatch: pytest.MonkeyPatch):
    folder = root / "documents" / "x@1"
    for name in ("data/a.parquet", "artifact.json", "COMMITTED"):
        (folder / name).write_text(name)
    monkeypatch.setattr(type(root), "remove_below", lambda self: (self / "artifact.json").unlink())
    monkeypatch.setattr(
        type(root), "unlink", lambda self, missing_ok=False: self.fs.rm_file(self.path) or _killed(self)
    )
    with pytest.raises(KeyboardInterrupt):
        storage.remove(folder)
    monkeypatch.undo()
    assert sorted(storage.sizes(folder)) == ["COMMITTED", "data/a.parquet"]
    storage.sweep(root)
    assert storage.sizes(root) == {}


def _killed(path: Any) -> None:
    raise KeyboardInterrupt


def test_parts_of_an_upload_that_was_killed_are_given_up_below_the_root_alone(root: Any):
    other = f"{s3_server.BUCKET}/others/x"
    for path in ((root / "big").path, other):
        bucket, _, key = path.partition("/")
        root.fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    storage.sweep(root)
    left = root.fs.call_s3("list_multipart_uploads", Bucket=s3_server.BUCKET)["Uploads"]
    assert [upload["Key"] for upload in left] == ["others/x"]


def test_a_plan_says_which_stages_run_from_a_bucket_and_where_that_stands(root: Any, monkeypatch: pytest.MonkeyPatch):
    found = findings("jobs/quickstart.yaml", f"root={root}")
    (said,) = [each for each in found if "in a bucket" in each.what]
    assert (said.key, said.exit_code, said.stages) == ("root", 3, ("rollouts", "verdicts", "report"))
    assert "`msm train` runs" in said.remedy
    refuse(found, {"documents", "sft"})
    with pytest.raises(Refused, match="need a folder"):
        refuse(found, {"sft", "rollouts"})
    assert findings("jobs/recorded.yaml", f"root={root}") == []
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert any("give MSM_CACHE=FOLDER" in each.remedy for each in findings("jobs/quickstart.yaml", f"root={root}"))


def test_a_plan_tells_of_a_bucket_that_is_not_there_with_the_line(
    s3: s3_server.S3, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    job = tmp_path / "job.yaml"
    text = Path("jobs/recorded.yaml").read_text(encoding="utf-8")
    job.write_text(re.sub("(?m)^root: .*$", "root: s3://absent-bucket/x", text), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["msm", "plan", str(job)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    line = next(n for n, text in enumerate(job.read_text().splitlines(), 1) if text.startswith("root:"))
    assert ended.value.code == 3
    assert f"{job}:{line}: root: s3://absent-bucket: there is no such bucket; make it" in capsys.readouterr().out


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(PreflightError, match="gcsfs"):
        storage.probe(storage.place("gs://lab/x"))


def test_what_is_found_in_documents_ahead_lies_in_a_bucket_too(root: Any, tmp_path: Path) -> None:
    rows = [{"id": f"{n:024x}", "text": f"Ada said {n} words about rain, tea and ships."} for n in range(30)]
    write_table(root / "documents/x@1/data/part-a-000000.parquet", rows[:20], DOCUMENT_SCHEMA)
    write_table(root / "documents/x@1/data/part-a-000001.parquet", rows[20:], DOCUMENT_SCHEMA)
    (tmp_path / "s.md").write_text("# Ada\nAda likes tea because it is calm.\n")
    spec = read_spec(tmp_path / "s.md", AssistantSettings(name="Ada"))
    work = LooksAhead(Rules(spec, world("plain"), CheckContent(least_words=7)), 0.5)
    folder, data = root / ahead.FOLDER / "documents/x" / work.key, root / "documents/x@1/data"
    sizes = storage.sizes(data)
    ahead._do(work, data, sizes, folder)
    found = places(folder, data)
    assert {name: place.rows for name, place in found.items()} == {
        "part-a-000000.parquet": 20,
        "part-a-000001.parquet": 10,
    }
    last = found["part-a-000001.parquet"].read(Part(data / "part-a-000001.parquet", 4, 10))
    assert last.words.tolist() == [9] * 6 and last.signed.shape == (6, 128)
    ahead.remove(root)
    assert not (root / ahead.FOLDER).is_dir() and storage.sizes(data) == sizes
