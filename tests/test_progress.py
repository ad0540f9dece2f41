"""What a run tells while it runs: rates, lines, bars, the status file, and what libraries say on standard error."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from loopback_server import loopback
from rich.console import Console
from typer.testing import CliRunner

from msm_ray import cli, progress, ray_private
from msm_ray.corpus.blocks import FORMAT
from msm_ray.errors import SettingsError
from msm_ray.evals.watching import watched
from msm_ray.graph.artifacts import commit
from msm_ray.look import status
from msm_ray.progress import display, reporter, showing, stderr_filter, words
from msm_ray.progress.growing import GrowingFiles
from msm_ray.progress.work import Pace, Task
from msm_ray.train.job import TrainingJob
from msm_ray.train.settings import TrainSettings
from msm_ray.train.watching import watched as watched_training

CORE_WORKER = (
    "[2026-11-26 08:06:12,850 E 2251 2758] core_worker.cc:2465: Actor with class name: 'MapWorker(MapBatches(x))' and ID: "
    "'3119' has constructor arguments in the object store and max_restarts > 0. If the arguments in the object store go out"
)
RAYLET = "\x1b[33m(raylet)\x1b[0m "
MANY_WORKERS = (
    RAYLET + "WARNING: 8 PYTHON worker processes have been started on node: 6957 with address: 127.0.0.1, which"
)
CONTROLLER = (
    RAYLET
    + "Task ServeController.listen_for_change failed. There are infinite retries remaining, so the task will be retried. "
    "Error: The actor is dead because it was killed by `ray.kill`."
)


def test_a_rate_knows_nothing_of_what_was_there_before_and_of_what_was_taken_back() -> None:
    pace = Pace()
    for second, done in enumerate([500, 500, 500]):
        pace.note(second, done)
    assert pace.per_second is None
    for second, done in enumerate([510, 520, 530], start=3):
        pace.note(second, done)
    assert pace.per_second == 10
    pace.note(6, 400)  # a training that went back to its checkpoint
    assert pace.per_second is None
    pace.note(7, 402)
    assert pace.per_second == 2


def test_a_rate_is_that_of_the_last_minute() -> None:
    pace = Pace()
    for second in range(200):
        pace.note(second, second * 10 if second < 100 else 1000 + (second - 100) * 2)
    assert pace.per_second == pytest.approx(2)
    for second in range(200, 270):
        pace.note(second, 1198)
    assert pace.per_second is None  # it stands still: no time left is claimed


def test_a_resumed_task_counts_what_was_there_as_done_and_says_how_long_the_rest_takes() -> None:
    work = Task("", 1000, "documents", done=400, waits_for="the engine to start")
    work.tick(0)
    assert words.described(work.numbers()) == (
        "400 of 1,000 documents (40%), waiting for the engine to start, 0 s so far"
    )
    work.advance(30)
    work.tick(1)
    assert words.described(work.numbers()) == "430 of 1,000 documents (43%), 30 documents/s, 19 s left"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (2e5, "2 d 7 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_slow_rates_are_said_by_the_minute() -> None:
    assert (words.rate(52.3, "rows"), words.rate(9.31, "steps"), words.rate(0.075, "steps")) == (
        "52 rows/s", "9.3 steps/s", "4.5 steps/min",
    )  # fmt: skip


def test_files_that_grow_are_read_once_and_those_that_shrink_anew(tmp_path: Path) -> None:
    files, path = GrowingFiles(), tmp_path / "answers.jsonl"
    assert files.lines(path) == 0
    path.write_text("1\n2\nhal")
    assert files.lines(path) == 2
    with path.open("a") as file:
        file.write("f\n4\n")
    assert files.lines(path) == 4
    path.write_text("1\n")
    assert files.lines(path) == 1


def test_rollouts_are_counted_from_what_was_answered_and_refused(tmp_path: Path) -> None:
    class Job:
        def __init__(self, name: str) -> None:
            self.out, self.items = tmp_path / name, tmp_path / "items"
            self.out.mkdir()

    (tmp_path / "items").mkdir()
    rows = [{"id": f"i{n}", "epochs": 2} for n in range(3)]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "items" / "items.parquet")
    jobs = {"rollouts/a": Job("a"), "rollouts/b": Job("b")}
    (jobs["rollouts/a"].out / "answers.jsonl").write_text("{}\n{}\n")
    telling = progress.Reporter(None, {}, {key: {"state": "waiting"} for key in jobs})
    folders = {key: job.out for key, job in jobs.items()}
    with reporter.telling(telling), telling.group("rollouts", folders), watched(jobs):
        telling.tick(0)
        (jobs["rollouts/b"].out / "answers.jsonl").write_text("{}\n")
        (jobs["rollouts/b"].out / "refused.jsonl").write_text("{}\n")
        telling.tick(1)
        content = telling.content()
    (told,) = content["running"]["tasks"]
    assert (told["done"], told["asked"], told["per_second"]) == (4, 12, 2)
    assert {key: stage["state"] for key, stage in content["stages"].items()} == {
        "rollouts/a": "waiting", "rollouts/b": "running",
    }  # fmt: skip


def test_trainings_are_counted_by_their_steps_and_finished_as_they_are_committed(tmp_path: Path) -> None:
    settings = TrainSettings(steps=None, epochs=2, batch=2)
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "blocks.json").write_text(json.dumps({"format": FORMAT, "blocks": 10}))
    jobs = [
        TrainingJob(f"sft/{name}", tmp_path, tmp_path / "blocks", tmp_path / "sft" / f"{name}@1", settings, settings)
        for name in "ab"
    ]
    rows = [json.dumps({"step": step, "loss": 0.5, "positions": 128}) + "\n" for step in range(1, 11)]
    committed(jobs[0].out)
    jobs[1].out.mkdir()
    steps = jobs[1].out / "metrics.jsonl"
    steps.write_text("".join(rows[:4]))
    telling = progress.Reporter(None, {}, {job.name: {"state": "waiting"} for job in jobs})
    folders = {job.name: job.out for job in jobs}
    with reporter.telling(telling), telling.group("midtrain/sft", folders), watched_training(jobs):
        for second, done in enumerate([4, 2, 4, 6]):  # it had come to step 4, and goes on from a checkpoint at step 2
            steps.write_text("".join(rows[:done]))
            telling.tick(second)
        content = telling.content()
    assert words.running(content["running"]) == (
        "midtrain/sft: 16 of 20 steps (80%), 2 steps/s, 2 s left; sft/b: step 6 of 10, loss 0.500, 256 tokens/s"
    )
    assert words.altogether(content) == "1 of 2 stages"
    assert content["stages"]["sft/b"]["state"] == "running"


def test_a_narrow_terminal_keeps_the_words(tmp_path: Path) -> None:
    telling = progress.Reporter(None, {}, {"midtrain/a": {"state": "waiting"}})
    group = telling.group("midtrain/sft", {"midtrain/a": tmp_path})
    with reporter.telling(telling), group, progress.task("", 5120, "steps") as work:
        telling.tick(0)
        work.advance(1432)
        telling.tick(150)
        content = telling.content()
    console = Console(width=80, file=io.StringIO())
    console.print(display.bars(content, 80))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1,432 of 5,120 steps (27%), 9.5 steps/s, 6 min left" in shown
    assert max(map(len, shown.splitlines())) <= 80


def report(root: Path, work: Callable[[progress.Reporter], None], say: Callable[[str], None] = print) -> None:
    stages = {"base/tiny": {"state": "waiting"}, "documents/x": {"state": "waiting"}, "corpus/x": {"state": "waiting"}}
    telling = progress.Reporter(root, {"experiment": "q", "command": "msm run q.yaml"}, stages)
    with progress.reporting(telling, root / "logs" / "now", say):
        work(telling)


def test_lines_say_how_far_it_is_and_the_status_file_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"TICK": 0.02, "FIRST_LINE": 0.0, "LINE_EVERY": 0.05}.items():
        monkeypatch.setattr(showing, name, seconds)
    said: list[str] = []
    seen: list[dict[str, Any]] = []

    def work(telling: progress.Reporter) -> None:
        folder = tmp_path / "base" / "tiny@1"
        telling.finished("base/tiny", committed(folder))
        with telling.group("documents", {"documents/x": tmp_path / "documents" / "x@1"}):
            with progress.task("", 40, "documents", done=10) as task:
                while not any("/s," in line for line in said):
                    task.advance(task.done < 39)
                    time.sleep(0.02)
                seen.append(status.read(tmp_path))
            telling.failed("documents/x", "the engine is down\nand more")

    report(tmp_path, work, said.append)
    assert re.match(r"documents: \d\d of 40 documents \(\d\d%\)(, .* left)?; 1 of 3 stages$", said[-1])
    (content,) = seen
    assert content["state"] == "running"
    assert [stage["state"] for stage in content["stages"].values()] == ["done", "running", "waiting"]
    shown = status.show(content)
    assert re.search(r"running +1  documents/x\n +documents: \d\d of 40 documents \(\d\d%\)", shown)
    ended = status.read(tmp_path)
    assert (ended["state"], ended["stages"]["documents/x"]["why"]) == ("done", "the engine is down\nand more")
    assert "failed      1  documents/x\n" in status.show(ended)


def committed(folder: Path) -> Path:
    folder.mkdir(parents=True)
    record = {
        "format": 2,
        "stage": folder.parent.name,
        "name": folder.name.partition("@")[0],
        "version": 1,
        "settings": {},
    }
    commit(folder, {**record, "fingerprint": "", "inputs": {}}, {})
    return folder


def test_how_a_run_ended_is_noted_with_the_reason(tmp_path: Path) -> None:
    for error, state, code, why in (
        (KeyboardInterrupt(), "interrupted", 130, ""),
        (SettingsError("wrong: x"), "failed", 2, "wrong: x"),
    ):

        def fail(_: progress.Reporter, error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            report(tmp_path, fail)
        content = status.read(tmp_path)
        assert (content["state"], content["exit_code"], content["why"]) == (state, code, why)
        assert "go on with: msm run q.yaml" in status.show(content)


PROGRAM = """
import os, sys, time
from pathlib import Path
from msm_ray import progress
from msm_ray.progress import showing

showing.TICK = 0.05
root = Path(sys.argv[1])
stages = {"documents/x": {"state": "waiting"}, "corpus/x": {"state": "waiting"}}
telling = progress.Reporter(root, {"experiment": "q", "command": "msm run q.yaml"}, stages)
try:
    with progress.reporting(telling, root / "logs", print), telling.group("documents", {"documents/x": root / "documents/x@1"}):
        with progress.task("", 1000, "documents"):
            time.sleep(0.2)
            WORK
finally:
    print("after", file=sys.stderr)
"""


def program(tmp_path: Path, work: str) -> list[str]:
    (tmp_path / "program.py").write_text(PROGRAM.replace("WORK", work))
    return [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]


SAYS = f"os.write(2, {(CORE_WORKER + chr(10)).encode()!r}); print('a complaint', file=sys.stderr)"


def test_noise_is_sifted_at_the_descriptor_complaints_come_through_and_both_are_kept(tmp_path: Path) -> None:
    order = program(tmp_path, f"{SAYS}; sys.stderr.write('no newline'); sys.exit(7)")
    ended = subprocess.run(order, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (7, "a complaint\nno newlineafter\n")
    assert (tmp_path / "logs/stderr.log").read_text() == f"{CORE_WORKER}\na complaint\nno newline"
    assert status.read(tmp_path)["state"] == "interrupted"


@pytest.mark.parametrize("end", ["os.abort()", "os.kill(os.getpid(), 9)"])
def test_last_words_of_a_run_that_is_killed_come_through_and_its_status_says_so(tmp_path: Path, end: str) -> None:
    ended = subprocess.run(program(tmp_path, f"{SAYS}; {end}"), capture_output=True, text=True, timeout=60)
    assert ended.returncode in (-signal.SIGABRT, -signal.SIGKILL)
    assert ended.stderr == "a complaint\n"
    content = status.read(tmp_path)
    assert (content["state"], content["running"]) == ("gone", None)
    assert {stage["state"] for stage in content["stages"].values()} == {"waiting"}
    assert "ended without a word (killed?)" in status.show(content)
    committed(tmp_path / "documents" / "x@1")  # a worker's last act, after the driver had last told
    assert status.read(tmp_path)["stages"]["documents/x"]["state"] == "done"


def on_terminal(order: list[str]) -> tuple[int, str]:
    """Exit code, and what a terminal of 120 columns is sent."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="40")
        os.environ.pop("CI", None)
        os.execv(order[0], order)  # noqa: S606
    sent = b""
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:
            break
        if not chunk:
            break
        sent += chunk
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode()).replace("\r", "")


def test_a_terminal_has_bars_and_complaints_stand_above_them(tmp_path: Path) -> None:
    code, shown = on_terminal(program(tmp_path, f"{SAYS}; print('a line'); time.sleep(0.3)"))
    assert code == 0
    assert re.search(r"documents +\S+ 0 of 1,000 documents \(0%\)\nexperiment +\S+ 0 of 2 stages", shown)
    assert shown.count("a complaint\n") == shown.count("a line\n") == 1
    assert "core_worker" not in shown
    assert shown.endswith("after\n")


def test_a_run_that_is_killed_on_a_terminal_has_its_last_words_there(tmp_path: Path) -> None:
    work = "os.write(2, b'last words' + chr(10).encode()); os.kill(os.getpid(), 9)"
    shell = (
        f"{shlex.join(program(tmp_path, work))}; code=$?; sleep 0.5; exit $code"  # a terminal outlives what runs in it
    )
    code, shown = on_terminal(["/bin/sh", "-c", shell])
    assert code == 128 + signal.SIGKILL
    assert "last words\n" in shown


def test_a_filter_that_is_killed_is_done_without(tmp_path: Path) -> None:
    work = (
        "from msm_ray.progress import stderr; stderr._at_work[0].process.kill(); time.sleep(0.5); "
        "os.write(2, b'x' * 100_000)"
    )
    ended = subprocess.run(program(tmp_path, work), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, len(ended.stderr)) == (0, 100_006)


@pytest.mark.parametrize(
    "line", [CORE_WORKER, MANY_WORKERS, CONTROLLER, "Converting and de-quantizing GGUF tensors...:  12%|█▏ | 33/272"]
)
def test_what_means_nothing_is_known_by_what_it_is(line: str) -> None:
    assert stderr_filter.is_noise(line.encode())


@pytest.mark.parametrize(
    "line",
    [
        CORE_WORKER.replace("has constructor arguments", "has died with arguments"),
        RAYLET + "A worker died or was killed while executing a task by an unexpected system error.",
        CONTROLLER.replace("it was killed by `ray.kill`", "its node died"),
        "RuntimeError: the engine is down",
    ],
)
def test_what_libraries_really_complain_about_is_no_noise(line: str) -> None:
    assert not stderr_filter.is_noise(line.encode())


@pytest.mark.real
def test_loggers_that_tell_nothing_are_kept_down_at_their_source(tmp_path: Path) -> None:
    program = """
import logging, sys
from msm_ray.progress import libraries
libraries.settle()
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="root %(message)s")  # as Ray's LLM library does
from ray.llm._internal.common.observability.logging import get_logger
get_logger("download").info("No cloud storage mirror configured")
get_logger("download").warning("the mirror is broken")
from deepspeed.utils import logger
logger.warning("Setting accelerator to CPU. If you have GPU or other accelerator, we were unable to detect it.")
logger.warning("ZeRO is off")
import matplotlib.font_manager
import openai
with openai.OpenAI(base_url=sys.argv[1], api_key="none needed", max_retries=0) as arms:
    arms.chat.completions.create(model="arm", messages=[{"role": "user", "content": "hello"}])
"""
    own_cache = os.environ | {"MPLCONFIGDIR": str(tmp_path)}  # so that fonts are looked for
    with loopback() as server:
        words = [sys.executable, "-c", program, server.address]
        ended = subprocess.run(words, env=own_cache, capture_output=True, text=True, timeout=120)
        assert server.asked["hello"] == 1
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout + ended.stderr
    assert "the mirror is broken" in told
    assert "ZeRO is off" in told
    assert "No cloud" not in told
    assert "accelerator to CPU" not in told
    assert "fontManager" not in told
    assert "HTTP Request" not in told


@pytest.mark.real
def test_what_rays_daemons_tell_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    from ray._private import worker

    ray_private.notices_to_stderr()
    worker.print_to_stdstream({"lines": ["a node died"], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    printed = capsys.readouterr()
    assert ("a node died" in printed.err, printed.out) == (True, "")


def test_status_knows_a_root_that_no_run_has_told_of_and_refuses_what_is_none(tmp_path: Path) -> None:
    committed(tmp_path / "root" / "base" / "tiny@1")
    told = CliRunner().invoke(cli.app, ["status", str(tmp_path / "root")])
    assert (told.exit_code, "1  1 base" in told.stdout) == (0, True)
    as_json = CliRunner().invoke(cli.app, ["status", str(tmp_path / "root"), "--json"])
    assert json.loads(as_json.stdout)["stages"]["base/tiny"]["state"] == "done"
    with pytest.raises(SettingsError, match="give the root|give its root"):
        status.read(Path("jobs/quickstart.yaml"))
    with pytest.raises(SettingsError, match="neither a run nor artifacts"):
        status.read(tmp_path / "nowhere")
