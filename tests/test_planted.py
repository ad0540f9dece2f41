"""Each thing that can be known before anything starts, planted in copies of the shipped jobs: singly, and ten at once."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from test_preflight import findings

from msm_ray import machine
from msm_ray.preflight import Finding

QUICKSTART, VALUES, AGENTIC = "jobs/quickstart.yaml", "jobs/values-own-data.yaml", "jobs/agentic-own-data.yaml"
PAPER = ("jobs/values-llama3-8b.yaml", "jobs/agentic-qwen3-32b.yaml", "jobs/agentic-qwen2.5-32b.yaml")
SMOLLM2 = "jobs/smollm2.yaml"


@dataclass(frozen=True)
class Planted:
    """A fault. old, new: in the job's text; files: edits of data files (name -> content); the finding that has to come."""

    job: str
    key: str
    says: str
    remedy: str
    edits: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    together: bool = False  # one of ten that don't hide each other
    at: str = ""  # text of the line that the finding has to point to; empty: none


FAULTS = [
    Planted(**fault | {"job": f"jobs/{fault['job']}.yaml"})
    for fault in yaml.safe_load(Path(__file__).with_name("planted.yaml").read_text(encoding="utf-8"))
]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many chats, as long, as the paper jobs want; in few words, for each is looked for what is held out."""
    folder = tmp_path_factory.mktemp("data")
    for name, rows, words in (("instruction", 16000, 100), ("aft-philosophy", 10000, 260)):
        answer = {"role": "assistant", "content": f"{'because' * 16} " * (words // 16)}
        chats = ({"messages": [{"role": "user", "content": f"Why {n}?"}, answer]} for n in range(rows))
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(chat)}\n" for chat in chats))
    return folder


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_ins: Path) -> Path:
    """A working directory of copies, with stand-ins for the data that the paper jobs want and for keys and tokens."""
    for folder in ("jobs", "specs"):
        shutil.copytree(folder, tmp_path / folder)
    for job in (Path(__file__).parent / "jobs").iterdir():
        shutil.copy(job, tmp_path / "jobs")
    (tmp_path / "data").mkdir()
    for path in stand_ins.iterdir():
        (tmp_path / "data" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "JUDGE_BASE_URL", "JUDGE_API_KEY"):
        monkeypatch.setenv(name, "stand-in")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    roomy = dataclasses.replace(machine.look(tmp_path), disk_gib=1000)
    monkeypatch.setattr(machine, "look", lambda root: roomy)
    for name in ("OTHER_API_KEY", "OTHER_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def plant(fault: Planted) -> tuple[str, int | None]:
    """Make the fault; the file and the line that its finding has to name."""
    job = Path(fault.job)
    text = job.read_text(encoding="utf-8")
    for old, new in fault.edits.items():
        assert old in text, old
        text = text.replace(old, new)
    job.write_text(text, encoding="utf-8")
    for name, content in fault.files.items():
        old, bar, new = content.partition("|")
        before = Path(name).read_text(encoding="utf-8")
        Path(name).unlink()
        Path(name).write_text(before.replace(old, new, 1) if bar and "\n" not in content else content, encoding="utf-8")
    in_job = fault.key.startswith("base.") or "is empty" in fault.says
    file = fault.job if in_job else next(iter(fault.files), fault.job)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return file, next((n for n, line in enumerate(lines, 1) if fault.at and fault.at in line), None)


def found(fault: Planted, place: tuple[str, int | None], told: list[Finding]) -> bool:
    return any(
        f.severity != "not checked" and f.key == fault.key and fault.says in f.what and f.file == place[0]
        and (not fault.at or f.line == place[1]) and fault.remedy in f"{f.what} {f.remedy}"
        for f in told
    )  # fmt: skip


@pytest.mark.parametrize("job", [VALUES, AGENTIC, QUICKSTART, SMOLLM2])
def test_the_shipped_jobs_have_no_finding_where_their_data_is_there(
    desk: Path, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msm_ray.models.smollm2_file", lambda: Path("there"))
    if job in (QUICKSTART, SMOLLM2):
        monkeypatch.delenv("RAY_ADDRESS")  # these run on a machine alone
    told = [f for f in findings(job) if f.severity != "not checked"]
    assert told == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{Path(fault.job).stem}-{fault.key}-{fault.says[:20]}")
def test_a_planted_fault_is_named_with_file_line_and_remedy(desk: Path, fault: Planted) -> None:
    place = plant(fault)
    told = findings(fault.job)
    assert found(fault, place, told), "\n".join(f.line_of_text() for f in told)


@pytest.mark.parametrize("job", [VALUES, QUICKSTART])
def test_ten_faults_at_once_are_all_named(desk: Path, job: str) -> None:
    chosen = [fault for fault in FAULTS if fault.job == job and fault.together]
    assert len(chosen) >= 10
    for fault in chosen:
        plant(fault)
    told = findings(job)
    missed = [f.key for f in chosen if not any(t.key == f.key and f.says in t.what for t in told)]
    assert missed == [], "\n".join(f.line_of_text() for f in told)


@pytest.mark.parametrize("variant", [[], ["variant=own-writer"], ["variant=released"]], ids=str)
@pytest.mark.parametrize("job", PAPER)
def test_the_paper_jobs_lack_nothing_but_revisions_that_nobody_knows_here(
    desk: Path, job: str, variant: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are there and GPUs are a cluster's: then every file can be had, in each of the three ways to come to data."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "stand-in")
    told = [f for f in findings(job, *variant) if f.severity != "not checked"]
    assert [f for f in told if not f.key.endswith("revision")] == []
    assert {f.severity for f in told} <= {"warning"}


def test_the_paper_jobs_stop_at_plan_without_a_key_for_their_writer(desk: Path) -> None:
    for job in PAPER:
        first, *more = [f for f in findings(job) if f.severity == "error"]
        assert (first.key, first.exit_code) == ("writer.key_variable", 3)
        assert all("ANTHROPIC_API_KEY" in error.what and error.exit_code == 3 for error in (first, *more))


def test_jobs_with_data_of_ones_own_stop_at_plan_naming_what_is_missing_and_what_to_put_there(desk: Path) -> None:
    shutil.rmtree("data")
    for job, files in (
        (VALUES, ["data/instruction.jsonl"]),
        (AGENTIC, ["data/aft-philosophy.jsonl", "data/instruction.jsonl"]),
    ):
        errors = [f for f in findings(job) if f.severity == "error"]
        assert [f.what.split()[3] for f in errors] == files
        assert all("put there" in f.remedy and '{"messages": ' in f.remedy for f in errors)
