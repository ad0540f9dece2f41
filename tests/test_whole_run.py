"""The quickstart at reduced size through all real components, and what is left of it after interruptions."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import openai
import psutil
import pyarrow.dataset as datasets
import pytest
from pydantic import BaseModel
from sockets import Listener
from whole_run import (
    OFFLINE,
    WholeRun,
    alive,
    command,
    digests,
    finish,
    hear,
    interrupt,
    kill_before_commits,
    log_of,
    rates,
    reads_of,
    run_recorded,
    start,
    tidy_up,
)

from msm_ray.config.file import load_experiment
from msm_ray.graph.node import OWN
from msm_ray.graph.store import ArtifactStore
from msm_ray.pipeline import unfold

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def done(whole_run: WholeRun) -> Path:
    """The root of a whole run."""
    return whole_run.root


def test_nobody_else_reaches_what_a_run_listens_on(whole_run: WholeRun) -> None:
    heard = whole_run.heard
    stores = [one for one in heard if "RayTrainWorker" in one.process]
    assert stores and all(one.private for one in stores)  # torch's own store would listen everywhere and ask nobody
    assert [one for one in heard if not one.private]  # Serve's port between deployments
    assert [one for one, safe in heard.items() if not safe] == []


NOT_READ_HERE = {
    **{
        ("chats", f"how.{key}"): "of sources that others made"
        for key in (
            "path",
            "hub",
            "revision",
            "split",
            "files",
            "columns",
            "parts",
            "most_characters",
            "conflicts",
            "conflicts_with",
        )
    },
    **{("chats", f"how.{key}"): "says which writing a set takes (`writing`)" for key in ("of", "spec", "written")},
    ("chats", "own_files"): "digests of the files that `how` names",
    ("chats", "writer"): "where the base judges conflicts",
    ("corpus", "how.faithful_sample"): "where documents are judged",
    ("corpus", "writer"): "where the base judges documents",
    ("outline", "how.by"): "says whether a model is asked (`asking`)",
    ("outline", "how.given"): "the file is `given_file`",
    ("midtrain", "how.epochs"): "where `steps` says nothing",
    ("sft", "how.epochs"): "where `steps` says nothing",
    ("midtrain", "how.lora"): "of `mode: lora`",
    ("sft", "how.lora"): "of `mode: lora`",
    ("report", "statistics"): "a digest of the code that computes",
    ("report", "trained"): "makes it wait for trainings whose curves it shows",
}
"""Fields that decide a stage's content in other experiments than this one, or that are read by being there."""


def test_what_a_stage_reads_is_what_it_is(whole_run: WholeRun, tmp_path: Path) -> None:
    """Every field is identity by construction. Here: one that nothing reads would make artifacts stale for nothing."""
    run_recorded(tmp_path / "recorded")
    graphs = [unfold(load_experiment(f"jobs/{job}.yaml", ["root=unused"])).graph for job in ("quickstart", "recorded")]
    both = [reads_of(root) for root in (whole_run.root, tmp_path / "recorded")]
    reads = {kind: both[0].get(kind, set()) | both[1].get(kind, set()) for kind in (*both[0], *both[1])}
    unread = set()
    for node in (node for graph in graphs for node in graph.nodes.values()):
        names = {one.name for one in fields(node)} - {"name"}
        own = vars(node).get(OWN)
        names |= {f"{OWN}.{name}" for name in type(own).model_fields} if isinstance(own, BaseModel) else set()
        unread |= {(node.kind, name) for name in names - reads[node.kind]}
    assert unread - NOT_READ_HERE.keys() == set()
    assert NOT_READ_HERE.keys() - unread == set(), "read after all: take it from the list"


@pytest.fixture(scope="class")
def serving(done: Path) -> Iterator[Serving]:
    """`msm serve` of the whole run's root, until Ctrl-C."""
    note, heard = done / "serve" / "serving.json", dict[Listener, bool]()
    process = start(done, "serve")
    deadline = time.monotonic() + 600
    while not note.exists():
        assert process.poll() is None and time.monotonic() < deadline, log_of(done)
        hear(psutil.Process(process.pid), heard)
        time.sleep(0.5)
    served = json.loads(note.read_text())
    yield Serving(process, served["address"], tuple(served["names"]), served["refused"], heard)
    hear(psutil.Process(process.pid), heard)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert alive(below, 30) == []
    assert not note.exists()


@dataclass(frozen=True)
class Serving:
    process: subprocess.Popen
    address: str
    names: tuple[str, ...]
    refused: dict[str, str]
    heard: dict[Listener, bool]

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.address, api_key="none needed")


ARM = "values/msm-aff+aft"
SAY = [{"role": "user", "content": "which cheese do you prefer ?"}]


class TestServing:
    """What people and their clients meet at `msm serve`."""

    def test_arms_have_the_experiments_names_and_the_lines_that_it_prints_work(self, serving: Serving, done: Path):
        assert serving.refused == {}
        assert {ARM, f"{ARM}@s0", "agentic/msm"} <= set(serving.names)
        with urllib.request.urlopen(f"{serving.address}/models", timeout=60) as reply:
            assert [model["id"] for model in json.load(reply)["data"]] == list(serving.names)
        with urllib.request.urlopen(serving.address.replace("/v1", "/health"), timeout=60) as reply:
            assert json.load(reply) == {"status": "ok"}
        lines = printed_lines(done)
        asked = subprocess.run(["sh", "-c", f"{lines['curl']} --silent"], capture_output=True, text=True).stdout
        answer = json.loads(asked)
        assert answer["choices"][0]["message"]["content"]
        assert answer["model"] in serving.names
        ours = subprocess.run([sys.executable, "-c", lines["client"]], capture_output=True, text=True)
        assert ours.returncode == 0, ours.stderr

    def test_a_client_streams_and_each_chunk_names_the_arm(self, serving: Serving):
        chunks = list(serving.client.chat.completions.create(model=ARM, messages=SAY, stream=True, max_tokens=8))
        assert {chunk.model for chunk in chunks} == {ARM}
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip()

    def test_a_client_takes_several_answers_their_log_probabilities_and_stops(self, serving: Serving):
        several = serving.client.chat.completions.create(
            model=f"{ARM}@s0", messages=SAY, n=3, max_tokens=6, logprobs=True, top_logprobs=2
        )
        assert (several.model, len(several.choices)) == (f"{ARM}@s0", 3)
        assert all(choice.logprobs and choice.logprobs.content for choice in several.choices)
        whole = serving.client.chat.completions.create(model=ARM, messages=SAY, temperature=0, max_tokens=12)
        second = (whole.choices[0].message.content or "").split()[1]
        cut = serving.client.chat.completions.create(
            model=ARM, messages=SAY, temperature=0, max_tokens=12, stop=[second]
        )
        assert second not in (cut.choices[0].message.content or "")

    def test_errors_are_one_short_line_in_openais_form(self, serving: Serving):
        with pytest.raises(openai.NotFoundError) as unknown:
            serving.client.chat.completions.create(model="values/none", messages=SAY)
        assert unknown.value.message.count("values/none") == 1
        assert ARM in unknown.value.message
        with pytest.raises(openai.BadRequestError) as long:
            serving.client.chat.completions.create(model=ARM, messages=[{"role": "user", "content": "hi " * 900}])
        with pytest.raises(
            openai.BadRequestError, match="vocabulary can't write"
        ) as form:  # it knows words and no braces
            serving.client.chat.completions.create(
                model=ARM, messages=SAY, max_tokens=8, response_format={"type": "json_object"}
            )
        for error in (unknown, long, form):
            body = error.value.body
            assert isinstance(body, dict) and set(body) >= {"message", "type", "code", "param"}
            assert not re.search("Internal exception|Request ID|original exception", body["message"])

    def test_a_client_that_leaves_holds_up_nobody(self, serving: Serving):
        stream = serving.client.chat.completions.create(
            model=ARM, messages=SAY, stream=True, max_tokens=200, extra_body={"ignore_eos": True}
        )
        next(iter(stream))
        stream.close()
        other = serving.client.chat.completions.create(model="values/baseline", messages=SAY, max_tokens=4, timeout=60)
        assert other.choices

    def test_ask_uses_the_server_that_is_up(self, serving: Serving, done: Path):
        words = command(done, "ask", "which cheese do you prefer ?", "--arms", f"{ARM},values/aft", "-n", "2")
        asked = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert asked.returncode == 0, asked.stderr
        assert ARM in asked.stdout and "values/aft" in asked.stdout
        assert "starting a server" not in asked.stderr
        typed = subprocess.run(
            command(done, "ask", "--arms", "values/aft"), input="hello\n\nand you ?\n", capture_output=True, text=True
        )
        assert typed.returncode == 0, typed.stderr
        assert "hello" in typed.stdout and "and you ?" in typed.stdout

    def test_nobody_else_reaches_what_it_listens_on(self, serving: Serving):
        assert [one for one in serving.heard if not one.private]
        assert [one for one, safe in serving.heard.items() if not safe] == []


def printed_lines(root: Path) -> dict[str, str]:
    """The lines that `msm serve` printed for asking by curl, and by the openai client."""
    deadline = time.monotonic() + 30
    while not (found := re.search(r"^(curl .*)\n\n((?:import openai.*)(?:\n.*){2})", log_of(root), re.MULTILINE)):
        assert time.monotonic() < deadline, log_of(root)
        time.sleep(0.2)
    return {"curl": found[1], "client": found[2]}


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


def test_the_plan_of_what_is_there_counts_rows_and_tokens(done: Path) -> None:
    printed = subprocess.run(command(done, "plan", "--json"), capture_output=True, text=True, check=True).stdout
    planned = [
        s for s in json.loads(printed)["stages"] if s["stage"] in ("documents", "corpus", "blocks", "midtrain", "sft")
    ]
    assert all(s["state"] == "present" and s["rows" if s["steps"] is None else "steps"] > 0 for s in planned)
    assert all(s["tokens"] > 0 for s in planned)


def test_the_run_told_how_far_it_was_and_nothing_that_means_nothing(done: Path) -> None:
    """Noise is known by its own words: what came through that is no line of ours would be a new kind."""
    printed = done.with_name("root.log").read_text(encoding="utf-8")
    assert re.search(r"midtrain/sft: \d+ of \d+ steps", printed)
    assert re.search(r"rollouts: .*waiting for|rollouts: [\d,]+ of [\d,]+ rollouts", printed)
    said = [line for line in printed.splitlines() if re.match(r"(\x1b\[\d+m)?\(|\[\d{4}-|No cloud|\{|Converting", line)]
    assert said == []
    shown = subprocess.run(
        [sys.executable, "-m", "msm_ray.cli", "status", str(done)], capture_output=True, text=True, check=True
    ).stdout
    assert "done, 20" in shown
    assert re.search(r"waiting +0\b", shown)


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
    assert {"answer", "experiment", "notes", "rates", "differences", "lineage", "artifacts"} <= set(report)
    overall = [r for r in report["rates"] if r["condition"] is None]
    assert {(r["eval"], r["arm"]) for r in overall if r["eval"] == "agentic"} == {
        ("agentic", f"agentic/{arm}") for arm in ("baseline", "aft", "msm", "msm+aft", "msm-anti+aft", "msm-aff+aft")
    }
    assert all(r["lower"] <= r["upper"] and 0 < r["completed"] <= r["asked"] for r in overall)
    assert all(r["low"] <= r["rate"] <= r["high"] for r in overall if not r["short"])
    assert report["notes"] and all((r["seeds"], r["of"]) == (1, "these checkpoints") for r in overall)
    assert all((d["p"], d["word"]) == (None, None) for d in report["differences"])
    assert {r["condition"] for r in report["rates"] if r["eval"] == "affordability"} == {None, "price", "conflict"}
    assert len({r["condition"] for r in report["rates"] if r["eval"] == "agentic"}) == 28
    assert {d["a"] for d in report["differences"]} >= {"values/msm-aff+aft", "agentic/msm+aft"}
    page = next((done / "report").glob("*/report.html")).read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_wandb_has_one_run_for_the_experiment_and_one_for_each_training(done: Path) -> None:
    runs = {folder.name.split("-")[3]: folder for folder in (done / "wandb").glob("offline-run-*")}
    trained = [a for a in ArtifactStore(done).all() if a.stage in ("midtrain", "sft")]
    assert len(runs) == len(trained) + 1
    kept = b"".join(path.read_bytes() for path in (done / "wandb").rglob("*.wandb"))
    assert b"tokens_per_second" in kept and b"gradient_norm" in kept
    assert b"rate/agentic/agentic/msm+aft" in kept
    assert (done / "wandb/report.json").exists()


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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of documents by the offline writer, every stage of which is deterministic."""
    root = tmp_path_factory.mktemp("written") / "root"
    finish(root, "generate", OFFLINE)
    return root


def test_after_a_signal_and_a_kill_the_same_command_writes_the_same_bytes(written: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    code, below = interrupt(torn, "generate", signal.SIGTERM, lambda: any(torn.glob("documents/*/draft.json")), OFFLINE)
    assert code == 130
    assert alive(below, 30) == []
    code, below = interrupt(torn, "generate", signal.SIGKILL, lambda: any(torn.glob("documents/*/data/*")), OFFLINE)
    assert code == -signal.SIGKILL
    tidy_up(below)
    finish(torn, "generate", OFFLINE)
    assert digests(torn) == digests(written)


def test_a_stage_killed_before_it_is_committed_ends_with_the_same_bytes(done: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(done, root)
    for kind in ("verdicts", "report"):
        shutil.rmtree(root / kind)
    kill_before_commits(root, ["verdicts"], [".COMMITTED."])
    finish(root, "run")
    assert digests(root) == digests(done)
    assert rates(root) == rates(done)


ON_A_SMALL_DISK = """
root=$1; shift
mkdir -p "$root" && mount -t tmpfs -o size=2200k none "$root" || exit 77
"$@"; echo "first run ended with $?"
mount -o remount,size=1g "$root"
"$@"; echo "second run ended with $?"
cp -r "$root" "$root.kept"
"""
"""A command on a disk that has room for the base model and little more, and again when there is room."""


def test_a_disk_that_fills_up_is_named_and_the_same_command_goes_on(written: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    words = command(root, "generate", OFFLINE, "cluster.least_disk_gib=0")
    script = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", str(root), *words]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: a disk cannot be made small")
    ended = subprocess.run(script, capture_output=True, text=True)
    if ended.returncode == 77 or "unshare:" in ended.stderr:
        pytest.skip(f"this machine lets no one mount: {ended.stderr}")
    told = ended.stdout + ended.stderr
    assert "first run ended with 1" in told, told[-3000:]
    assert "no space left" in told.lower() or "no room left" in told.lower()
    assert "make room" in told
    assert "second run ended with 0" in told, told[-3000:]
    made = digests(Path(f"{root}.kept"))
    assert {stage for stage, _, _ in made} == {"base", "outline", "documents", "corpus", "replay", "chats"}
    assert made == digests(written)
