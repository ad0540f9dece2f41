"""What W&B is given, what leaves this machine, and what happens where it can't be reached. Real wandb, offline or refused."""

from __future__ import annotations

import base64
import http.server
import json
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_nodes import plain
from wandb_server import Kept, serving

from msm_ray.config import ExperimentSettings
from msm_ray.config.file import load_experiment
from msm_ray.errors import PreflightError
from msm_ray.graph.artifacts import Artifact, commit
from msm_ray.graph.store import ArtifactStore
from msm_ray.stats import Difference, Rate
from msm_ray.tracking import (
    ExperimentRun,
    RunName,
    Tracker,
    names,
    open_run,
    publishing,
    report_spec,
    run,
    training_run,
    upload,
    without_key,
)  # fmt: skip

KEY = "a" * 40
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
"""A PNG file."""
SPEC, DOCUMENT, CHAT, QUESTION, ANSWER, REASON = words = [
    f"planted-{n}" for n in ("spec", "document", "chat", "question", "answer", "reason")
]
RATE = Rate("values/aft", "affordability", None, 0.5, 0.4, 0.6, 0.5, 0.5, 320, 320, 320, 1, "these checkpoints")
DIFFERENCE = Difference(
    "values/msm-aff+aft", "values/aft", "affordability", None, 0.3, 0.2, 0.4, 0.3, 0.3, 4, 11, "the recipe", 2,
    p=0.0004, p_holm=0.002, word="above",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for folder in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / "library" / folder.lower()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run, "_offline_since", [])
    if "wandb" in sys.modules:  # it keeps the environment that it saw first
        sys.modules["wandb"].teardown()


def settings(root: Path, *overrides: str) -> ExperimentSettings:
    return load_experiment("jobs/quickstart.yaml", [f"root={root}", f"report.question={QUESTION}", *overrides])


def made(root: Path, stage: str, name: str, counts: dict, **tables: list[dict]) -> Artifact:
    """A committed artifact with Parquet files, by their paths with `__` for `/`."""
    folder, record = ArtifactStore(root).begin(plain(stage, name, {"seed": 0}), {})
    for path, rows in tables.items():
        file = folder / f"{path.replace('__', '/')}.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), file)
    if stage == "report":
        rates = [
            asdict(RATE),
            asdict(replace(RATE, condition="price")),
            asdict(replace(RATE, arm="values/msm-aff+aft")),
        ]
        answer = {"headline": "The one difference is shown.", "findings": ["30 points more"], "limits": ["a limit"]}
        content = {
            "answer": answer,
            "rates": rates,
            "differences": [asdict(DIFFERENCE)],
            "notes": ["a note"],
            "artifacts": [],
        }
        (folder / "report.json").write_text(json.dumps(content), encoding="utf-8")
        (folder / "figures").mkdir()
        (folder / "figures/figure-1.png").write_bytes(PIXEL)
    if stage == "corpus":
        card = f"---\nconfigs: 1\n---\n\n# Documents about {SPEC}\n\n## Load it\n\nhere\n\n## Left out\n\nnothing\n"
        (folder / "README.md").write_text(card, encoding="utf-8")
    if stage == "sft":
        steps = [{"step": n, "loss": 1 / n, "lr": 0.1, "grad_norm": 2.0, "tokens": 8} for n in (1, 2, 3)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    commit(folder, record, counts)
    return next(a for a in ArtifactStore(root).all() if (a.stage, a.name) == (stage, name))


def artifacts(root: Path) -> dict[str, Artifact]:
    """One of each kind that has text or numbers of its own, with a planted word in every text."""
    verdict = {
        "arm": "values/aft", "eval": "affordability", "condition": "price", "sample": "1", "epoch": 1, "judge": "rules",
        "question": QUESTION, "answer": ANSWER, "reason": REASON, "verdict": True, "status": "ok",
    }  # fmt: skip
    document = {"id": "1", "text": DOCUMENT, "idea": SPEC, "domain": SPEC, "type": "letter"}
    chat = {"id": "1", "messages": [{"role": "user", "content": CHAT}]}
    stages = [
        made(root, "outline", "affordability", {"rows": 1}, outline=[{"idea": SPEC}]),
        made(root, "corpus", "affordability", {"rows": 1, f"rejected: has {DOCUMENT}": 2}, data__0=[document]),
        made(root, "chats", "cheese", {"rows": 1, "asked": 2}, data__0=[chat]),
        made(root, "sft", "cheese-s0", {"final_loss": 0.5, "steps": 3}),
        made(root, "verdicts", "affordability-values.aft-s0", {"rows": 1}, verdicts=[verdict]),
        made(root, "report", "quickstart", {"rows": 1}),
    ]
    return {f"{a.stage}/{a.name}": a for a in stages}


def told(root: Path, *overrides: str) -> ExperimentSettings:
    """An experiment of two processes: the second tells the report, and the training is told from its artifact."""
    chosen, there, so_far = settings(root, *overrides), artifacts(root), {}
    for part in (list(there)[:-1], list(there)[-1:]):
        with ExperimentRun(chosen, root) as experiment:
            for key in part:
                so_far[key] = there[key]
                experiment.stage(there[key], so_far)
    training_run.from_artifact(chosen, root, there["sft/cheese-s0"], there)
    return chosen


def inspected(piece: Path) -> dict[str, Any]:
    """What W&B's own tool reads in a run's files."""
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--summary", "--json", piece]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def pieces(root: Path, name: RunName) -> list[Path]:
    return sorted((root / "wandb").glob(f"offline-run-*-{name.id}*"))


@pytest.mark.real
def test_an_interrupted_experiment_is_one_run_and_each_training_one(tmp_path: Path) -> None:
    chosen = told(tmp_path)
    own = names.experiment_run(chosen, tmp_path)
    training = names.training_run(
        chosen, tmp_path, next(a.record for a in ArtifactStore(tmp_path).all() if a.stage == "sft")
    )
    first, second = pieces(tmp_path, own)
    (curve,) = pieces(tmp_path, training)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3
    assert (own.job_type, training.job_type) == ("experiment", "training")
    assert own.group == training.group == "quickstart"
    assert inspected(first)["summary"]["stages"] == 5
    summary = inspected(second)["summary"]
    assert summary["rate/affordability/values/aft/low"] == 0.4
    assert summary["rate/affordability/values/aft/price"] == 0.5
    assert (summary["stages"], summary["stage/corpus/affordability/rejected"]) == (6, 2)
    assert summary["stage/sft/cheese-s0/final_loss"] == 0.5
    tables = {key for key, value in summary.items() if isinstance(value, dict) and value.get("_type") == "table-file"}
    assert tables == {
        "rates", "rates/affordability", "differences", "lineage", "transcripts", "documents/affordability", "chats/cheese",
    }  # fmt: skip
    assert summary["figures/figure-1"]["_type"] == "image-file"
    drawn = inspected(curve)["summary"]
    assert (drawn["step"], drawn["gradient_norm"], drawn["steps"]) == (3, 2.0, 3)


def test_weights_stay_where_they_are_and_are_pointed_at(tmp_path: Path) -> None:
    told(tmp_path)
    record = b"".join(path.read_bytes() for path in (tmp_path / "wandb").rglob("*.wandb"))
    assert f"file://{tmp_path}/sft/cheese-s0%401/metrics.jsonl".encode() in record
    held = [path.name for path in (tmp_path / "library").rglob("*") if path.is_file()]
    assert not [name for name in held if name.endswith((".parquet", ".jsonl"))]


@pytest.mark.parametrize("texts", [True, False])
def test_without_texts_no_byte_of_a_text_is_in_any_file(tmp_path: Path, texts: bool) -> None:
    told(tmp_path, f"tracking.texts={str(texts).lower()}", f"assistant.name={SPEC}")
    files = [path for part in ("wandb", "library") for path in (tmp_path / part).rglob("*") if path.is_file()]
    found = {word for word in words for path in files if word.encode() in path.read_bytes() or word in str(path)}
    assert found == (set(words) if texts else set())


def test_another_root_is_another_run_and_a_moved_one_is_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    ids = [names.experiment_run(settings(root), root).id for root in (first, second, first)]
    assert ids[0] == ids[2] != ids[1]
    moved = first.rename(tmp_path / "moved")
    assert names.experiment_run(settings(moved), moved).id == ids[0]


def test_wandb_mode_wins_over_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with ExperimentRun(settings(tmp_path), tmp_path) as experiment:
        experiment.stage(made(tmp_path, "corpus", "affordability", {"rows": 1}), {})
        assert type(experiment.tracker) is Tracker
        assert experiment.training({}) is None
    assert not (tmp_path / "wandb").exists()


def test_a_table_that_cannot_be_read_stops_no_stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = made(tmp_path, "corpus", "affordability", {"rows": 1})
    with ExperimentRun(settings(tmp_path), tmp_path) as experiment:
        experiment.stage(damaged, {"corpus/affordability": damaged})
    assert "W&B did not take a record" in caplog.text


def test_the_report_is_what_the_library_reads_back_and_would_send(tmp_path: Path) -> None:
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces.reports.v2 import internal
    from wandb_workspaces.workspaces.internal import View

    told(tmp_path)
    kept = json.loads((tmp_path / "wandb/report.json").read_text(encoding="utf-8"))
    read = wr.Report._from_model(internal.ReportViewspec.model_validate(kept["report"]))
    assert without_drawn_names(serialized(read._to_model())) == without_drawn_names(kept["report"])
    assert serialized(View.model_validate(kept["view"])) == kept["view"]
    kinds = [type(block).__name__ for block in read.blocks]
    assert kinds[:4] == ["BlockQuote", "H2", "CalloutBlock", "UnorderedList"]
    text = json.dumps(kept["report"])
    assert all(told in text for told in ("The one difference is shown.", "30 points more", "a limit"))
    assert "0.50 [0.40, 0.60]" in text and "<0.001" in text
    for shown in (
        "rates/affordability",
        "gradient_norm",
        "documents/affordability",
        "transcripts",
        "lineage",
        QUESTION,
    ):
        assert shown in text


def serialized(model: Any) -> dict[str, Any]:
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


def without_drawn_names(spec: Any) -> Any:
    """Panels and run sets get names by chance; the library does not read back how large a table is."""
    if isinstance(spec, dict):
        left_out = ("id", "__id__", "ref", "layout")
        return {key: without_drawn_names(value) for key, value in spec.items() if key not in left_out}
    return [without_drawn_names(value) for value in spec] if isinstance(spec, list) else spec


def test_without_the_chart_there_are_plain_bars(tmp_path: Path) -> None:
    chosen = told(tmp_path)
    there = {f"{a.stage}/{a.name}": a for a in ArtifactStore(tmp_path).all()}
    facts = publishing.told(chosen, tmp_path, there)
    plain = json.dumps(serialized(report_spec.report(facts, report_spec.Home(chart=False))._to_model()))
    assert "Bar Chart" in plain and "Vega2" not in plain


def stages_of(sent: dict[str, Any]) -> list[int]:
    """How many stages there were after each; tables have the number of the stage that they came with."""
    return [row["stages"] for row in sent["history"] if any(key.endswith("/stages") for key in row)]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    with serving() as keeping:
        monkeypatch.setenv("WANDB_BASE_URL", keeping.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield keeping


@pytest.mark.real
def test_what_was_kept_in_pieces_is_sent_as_one_run_and_the_report_once(tmp_path: Path, kept: Kept) -> None:
    chosen = told(tmp_path)
    there = {f"{a.stage}/{a.name}": a for a in ArtifactStore(tmp_path).all()}
    said: list[str] = []
    upload.send(chosen, tmp_path, there, said.append)
    own = kept.runs[names.experiment_run(chosen, tmp_path).id]
    assert [row["_step"] for row in own["history"]] == list(range(len(own["history"])))
    assert stages_of(own) == [1, 2, 3, 4, 5, 6]
    assert own["summary"]["rate/affordability/values/aft"] == 0.5
    assert {"documents/affordability", "chats/cheese", "figures/figure-1", "stage/corpus/affordability/rows"} <= set(
        own["summary"]
    )
    assert sorted((r["jobType"], r["group"]) for r in kept.runs.values()) == [
        ("experiment", "quickstart"),
        ("training", "quickstart"),
    ]
    assert "quickstart-sft-cheese-s0" in kept.used
    assert all(word in "".join(kept.files) for word in (DOCUMENT, CHAT, ANSWER))
    assert any("3 pieces" in line for line in said) and "/reports/quickstart--view0" in "".join(said)
    before = len(own["history"])
    upload.send(chosen, tmp_path, there, said.append)
    assert any("0 pieces" in line for line in said)
    assert (len(own["history"]), set(kept.views), kept.saves) == (before, {"view0", "view1"}, 4)


@pytest.mark.real
def test_what_was_kept_with_texts_is_not_sent_when_texts_are_to_stay(tmp_path: Path, kept: Kept) -> None:
    told(tmp_path)
    there = {f"{a.stage}/{a.name}": a for a in ArtifactStore(tmp_path).all()}
    chosen = settings(tmp_path, "tracking.texts=false")
    upload.send(chosen, tmp_path, there, lambda _: None)
    sent = json.dumps([kept.runs, kept.views, kept.artifacts, kept.configs, kept.files])
    assert not [word for word in words if word in sent]
    own = kept.runs[names.experiment_run(chosen, tmp_path).id]
    assert stages_of(own) == [1, 2, 3, 4, 5, 6]
    assert own["summary"]["rate/affordability/values/aft"] == 0.5


@pytest.mark.real
def test_runs_that_were_never_tracked_are_made_from_artifacts(tmp_path: Path, kept: Kept) -> None:
    chosen, there = settings(tmp_path, "tracking.mode=disabled"), artifacts(tmp_path)
    upload.send(chosen, tmp_path, there, lambda _: None)
    training = kept.runs[names.training_run(chosen, tmp_path, there["sft/cheese-s0"].record).id]
    assert [(row["step"], row["gradient_norm"]) for row in training["history"]] == [(1, 2.0), (2, 2.0), (3, 2.0)]
    assert len(kept.runs) == 2


@pytest.mark.real
def test_online_the_runs_are_sent_as_they_go_and_the_report_at_the_end(
    tmp_path: Path, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = told(tmp_path, "tracking.mode=online")
    own = kept.runs[names.experiment_run(chosen, tmp_path).id]
    assert stages_of(own) == [1, 2, 3, 4, 5, 6]
    assert kept.saves == 2
    assert capsys.readouterr().out.count("W&B: http") == 2
    assert not list((tmp_path / "wandb").rglob(run.UNSENT))


@pytest.mark.real
def test_a_network_that_goes_away_is_not_waited_for_and_what_it_did_not_take_is_sent_later(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LONGEST_FINISH", 2.0)
    chosen, there = settings(tmp_path, "tracking.mode=online"), artifacts(tmp_path)
    began = time.monotonic()
    with (
        pytest.warns(UserWarning, match="did not take all of .* in time: .* sends it") as warned,
        ExperimentRun(chosen, tmp_path) as experiment,
    ):
        assert experiment.tracker.online
        kept.answers.clear()
        for key in ("outline/affordability", "corpus/affordability"):
            experiment.stage(there[key], there)
    assert time.monotonic() - began < 30
    assert len(warned) == 1
    assert experiment.training(there["sft/cheese-s0"].record) is not None
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1, "what follows is offline"
    kept.answers.set()
    monkeypatch.setattr(run, "LONGEST_FINISH", 60.0)
    own = names.experiment_run(chosen, tmp_path).id
    upload.send(chosen, tmp_path, there, lambda _: None)
    assert any("corpus/rows" in row for row in kept.runs[own]["history"])
    assert "documents/affordability" in kept.runs[own]["summary"]
    assert not list((tmp_path / "wandb").rglob(run.UNSENT))


@pytest.mark.real
@pytest.mark.parametrize(
    ("environment", "said"),
    [({}, "no key for api.wandb.ai: set WANDB_API_KEY"), ({"WANDB_MODE": "offline"}, "WANDB_MODE=offline keeps everything here"),
     ({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "cannot be reached")],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    monkeypatch.setattr(run, "LONGEST_START", 0.3)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PreflightError, match=said):
        upload.send(settings(tmp_path), tmp_path, artifacts(tmp_path), lambda _: None)


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server that answers every request with one status; 0: never."""

    status = 401

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.status:
            time.sleep(30)
        self.send_response(self.status or 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Refusing]]:
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listening.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield Refusing
    listening.shutdown()


@pytest.mark.real
@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the key: set WANDB_API_KEY"), (403, "set tracking.project and tracking.entity"),
     (404, "set tracking.project and tracking.entity"), (0, "cannot be reached")],
)  # fmt: skip
def test_a_server_that_refuses_makes_the_run_an_offline_one(
    tmp_path: Path, server: type[Refusing], monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    if not status:
        monkeypatch.setattr(run, "LONGEST_START", 0.3)
    server.status = status
    with pytest.warns(UserWarning, match=said) as warned:
        chosen = told(tmp_path, "tracking.mode=online")
    # W&B warns for itself too, as of a folder that it leaves to the interpreter to clear away.
    of_the_server = [str(w.message) for w in warned if "127.0.0.1" in str(w.message)]
    assert len(of_the_server) == 1, "once, not for every run"
    assert "--wandb" in of_the_server[0]
    assert len(pieces(tmp_path, names.experiment_run(chosen, tmp_path))) == 2
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


@pytest.mark.real
def test_no_network_makes_the_run_an_offline_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LONGEST_START", 0.3)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.warns(UserWarning, match="connection refused"):
        told(tmp_path, "tracking.mode=online")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


def test_a_folder_that_cannot_be_written_to_is_said_and_the_root_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file/below"))
    with pytest.warns(UserWarning, match="WANDB_DIR=.* cannot be written to: .* unset WANDB_DIR"):
        told(tmp_path)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 3


def test_where_nothing_can_be_kept_the_stage_goes_on_and_the_way_out_is_said(tmp_path: Path) -> None:
    (tmp_path / "wandb").touch()
    with pytest.warns(UserWarning, match="once .* can be written to"):
        told(tmp_path)


ONLINE = """
import sys
from pathlib import Path
from msm_ray.config.file import load_experiment
from msm_ray.tracking import names, open_run
root = Path(sys.argv[1])
with open_run(names.experiment_run(load_experiment("jobs/quickstart.yaml", ["tracking.mode=online"]), root)) as tracker:
    tracker.summary({"rows": 1})
"""


@pytest.mark.real
def test_online_without_a_key_never_asks_at_the_terminal(tmp_path: Path) -> None:
    terminal, ours = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", ONLINE, str(tmp_path)], stdin=ours, stdout=ours, stderr=ours, timeout=60
    )
    os.close(ours)
    shown = b""
    while chunk := _read(terminal):
        shown += chunk
    assert done.returncode == 0
    assert not shown, "not a word, either"
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # a terminal whose other end is closed
        return b""


def test_a_key_that_is_missing_is_said_and_one_that_is_there_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online, offline = (settings(tmp_path, f"tracking.mode={mode}").tracking for mode in ("online", "offline"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_CONFIG_DIR")
    assert "WANDB_API_KEY" in without_key(online)
    assert without_key(offline) == ""
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password sesame\n")
    assert without_key(online) == ""
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.lab.example")
    assert "wandb.lab.example" in without_key(online)
    monkeypatch.setenv("WANDB_API_KEY", "sesame")
    assert without_key(online) == ""


def test_a_tracker_that_fails_never_stops_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(names.experiment_run(settings(tmp_path), tmp_path)) as tracker:
        monkeypatch.setattr(tracker._run, "log", _no_room)  # type: ignore[attr-defined]
        tracker.log({"loss": 1.0})


def _no_room(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")
