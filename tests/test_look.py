"""`msm ls`, `show`, `clean` and `msm_ray.results` on small roots: what is there, what it says, and what may go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import small_root
from plain_nodes import plain
from small_root import begin, make

import msm_ray
from msm_ray import cli
from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import commit
from msm_ray.graph.store import ArtifactStore
from msm_ray.look.entries import find, read_root
from msm_ray.look.trainings import curve
from msm_ray.look.words import age, size
from msm_ray.pipeline import KINDS
from msm_ray.stats import Verdict, rate

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def msm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: its exit code and all that it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["msm", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "root [final]")


def states(store: ArtifactStore) -> dict[str, str]:
    return {entry.label: entry.state for entry in read_root(store.root)}


def chain(store: ArtifactStore) -> None:
    """Documents and corpus in two versions, a midtraining on the first corpus alone, a draft, and a damaged set of chats."""
    make(store, "documents/x", counts={"rows": 7, "tokens": 1200})
    make(store, "corpus/x", ("documents/x",))
    make(store, "midtrain/x-s0", ("corpus/x",))
    make(store, "documents/x", files={"data.txt": "new"}, ideas=2)
    make(store, "corpus/x", ("documents/x",), {"data.txt": "newer"}, ideas=2)
    begin(store, "sft/x-s0", ("midtrain/x-s0",))
    damaged = make(store, "chats/x")
    (damaged / "data.txt").write_text("spoiled")


def test_ls_tells_rows_size_and_state_of_every_artifact(store: ArtifactStore, msm: Run) -> None:
    chain(store)
    assert states(store) == {
        "documents/x@1": "old", "documents/x@2": "present", "corpus/x@1": "old", "corpus/x@2": "present",
        "chats/x@1": "damaged", "midtrain/x-s0@1": "present", "sft/x-s0@1": "draft",
    }  # fmt: skip
    code, printed = msm("ls", store.root)
    assert code == 0 and "1,200" in printed and "1 draft (begun and not finished)" in printed
    assert printed.index("documents/x@1") < printed.index("midtrain/x-s0@1")
    code, printed = msm("ls", store.root, "--json")
    rows = {(row["kind"], row["version"]): row for row in json.loads(printed)}
    assert rows["documents", 1]["rows"] == 7 and rows["corpus", 1]["rows"] is None and rows["documents", 1]["bytes"] > 0


def test_what_was_made_from_something_that_was_made_anew_is_stale(store: ArtifactStore) -> None:
    make(store, "documents/x")
    make(store, "corpus/x", ("documents/x",))
    folder, record = store.begin(plain("documents", "x", {}), {}, anew="force")
    (folder / "data.txt").write_text("other")
    commit(folder, record, {})
    assert states(store) == {"documents/x@1": "present", "corpus/x@1": "stale"}


def test_a_root_that_is_none_is_named_and_not_made(tmp_path: Path, msm: Run) -> None:
    for command in ("ls", "clean"):
        code, printed = msm(command, tmp_path / "nowhere")
        assert code == 2 and "no artifacts there" in printed
    assert not (tmp_path / "nowhere").exists()


def test_an_artifact_is_found_by_its_folder_and_the_newest_without_a_version(store: ArtifactStore, msm: Run) -> None:
    for rows in range(1, 12):
        make(store, "chats/x", rows=rows)
    begin(store, "chats/x", rows=99)
    assert find(f"{store.root}/chats/x")[0].label == "chats/x@11", "the newest that is finished, and 11 comes after 9"
    assert find(f"{store.root}/chats/x@3")[0].state == "old"
    assert find(f"{store.root}/chats/x@12")[0].state == "draft"
    with pytest.raises(SettingsError, match="no artifact there"):
        find(f"{store.root}/chats/y")
    assert msm("show", store.root)[0] == 2


def test_an_artifact_that_was_taken_out_of_its_root_still_shows(store: ArtifactStore, msm: Run, tmp_path: Path) -> None:
    small_root.chats(store).rename(tmp_path / "taken")
    code, printed = msm("show", tmp_path / "taken")
    assert code == 0 and "chats/talk@1" in printed and "user: " in printed


def removed(store: ArtifactStore, msm: Run, *options: str) -> set[str]:
    before = set(states(store))
    code, printed = msm("clean", store.root, "--yes", *options)
    assert code == 0, printed
    return before - set(states(store))


def test_clean_removes_what_nothing_needs_and_nothing_else(store: ArtifactStore, msm: Run) -> None:
    chain(store)
    assert removed(store, msm) == {"sft/x-s0@1"}, "the midtraining was made from the old corpus and documents"
    make(store, "midtrain/x-s0", ("corpus/x",), {"model": "weights"}, ideas=2)
    assert removed(store, msm) == {"documents/x@1", "corpus/x@1", "midtrain/x-s0@1"}
    assert not list(store.root.rglob("*.removed"))
    assert msm("clean", store.root)[1].startswith("nothing to remove")


def test_clean_keeps_drafts_with_what_they_are_made_from_where_it_is_told(store: ArtifactStore, msm: Run) -> None:
    make(store, "documents/x")
    draft, *_ = begin(store, "corpus/x", ("documents/x",))
    make(store, "documents/x", files={"data.txt": "new"}, ideas=2)
    (draft / "checkpoints/step-000005").mkdir(parents=True)
    assert removed(store, msm, "--keep-drafts") == set()
    assert removed(store, msm) == {"documents/x@1", "corpus/x@1"}


def test_clean_keeps_all_versions_of_an_input_of_which_none_is_the_one(store: ArtifactStore, msm: Run) -> None:
    outline = make(store, "outline/x", files={"outline.yaml": "a"})
    make(store, "documents/x", ("outline/x",))
    (outline / "outline.yaml").write_text("edited since")
    make(store, "outline/x", files={"outline.yaml": "b"}, ideas=2)
    assert removed(store, msm) == set()


def test_clean_takes_checkpoints_of_finished_trainings_and_what_killed_runs_left(
    store: ArtifactStore, msm: Run
) -> None:
    folder = make(store, "sft/x-s0")
    for left in (
        folder / "checkpoints/step-000005",
        store.root / "ray-train/train-1",
        store.root / "sft/.x-s0@2.removed",
        store.root / "ahead",
    ):
        left.mkdir(parents=True)
        (left / "shard").write_text("x")
    code, printed = msm("clean", store.root, "--yes")
    assert code == 0 and "sft/x-s0@1/checkpoints" in printed and "half removed" in printed
    assert "checks and tokens that a run made ahead" in printed
    assert [p.name for p in store.root.rglob("shard")] == []
    assert (folder / "data.txt").exists()


@pytest.mark.parametrize(("answer", "goes"), [("y\n", True), ("n\n", False), ("\n", False), (None, False)])
def test_clean_asks_first(
    store: ArtifactStore, msm: Run, monkeypatch: pytest.MonkeyPatch, answer: str | None, goes: bool
) -> None:
    begin(store, "sft/x-s0")
    make(store, "chats/x")

    def said(question: str) -> str:
        assert "Remove these 1 folders" in question
        if answer is None:
            raise EOFError
        return answer.strip()

    monkeypatch.setattr("builtins.input", said)
    code, printed = msm("clean", store.root)
    assert code == 0 and "sft/x-s0@1: a draft" in printed
    assert ("sft/x-s0@1" not in states(store)) == goes


def test_clean_waits_for_no_run_that_is_writing(store: ArtifactStore, msm: Run) -> None:
    begin(store, "sft/x-s0")
    with store.lock():
        code, printed = msm("clean", store.root, "--yes")
    assert code == 3 and "another msm run" in printed
    assert "sft/x-s0@1" in states(store)


def test_show_prints_texts_as_they_are_with_where_they_come_from(store: ArtifactStore, msm: Run) -> None:
    small_root.documents(store)
    code, printed = msm("show", f"{store.root}/documents/tea", "-n", "2")
    assert code == 0
    assert printed.count("[bold]Ada[/bold] :smile: \\x1b[31mred likes tea") == 2, (
        "no markup, and no orders to the terminal"
    )
    assert "drinks" in printed and "2 of 3 texts" in printed
    assert "refused" in printed and "I'm [sorry]" in printed
    drawn = [msm("show", f"{store.root}/documents/tea", "-n", "1", "--seed", "7")[1] for _ in range(2)]
    assert drawn[0].partition("at random")[2] == drawn[1].partition("at random")[2] != ""


def test_show_prints_chats_and_those_that_were_left_out(store: ArtifactStore, msm: Run) -> None:
    small_root.chats(store)
    _, printed = msm("show", f"{store.root}/chats/talk", "-n", "100")
    kept, left_out = printed.count("tinyworld.ordinary · ordinary"), printed.count("leaked reason: the\n")
    assert kept and left_out and kept + left_out == 9
    assert printed.count("  assistant: ") >= 9


def test_show_draws_the_curve_and_marks_what_was_trained_on(store: ArtifactStore, msm: Run) -> None:
    small_root.chats(store)
    small_root.training(store)
    _, printed = msm("show", f"{store.root}/sft/talk-s0")
    assert "loss  1 █" in printed and "▁ 0.01" in printed
    assert "6 of 20 tokens" in printed
    assert "step 11, loss 0.091: a, b" in printed and "block 0 of a, b" in printed
    lines = printed.splitlines()
    answer = next(n for n, line in enumerate(lines) if line.startswith("  + "))
    assert "llama ." in lines[answer] and "who are you ?" in lines[answer - 1] and lines[answer - 1].startswith("  · ")
    assert "llama ." in msm("show", f"{store.root}/blocks/talk")[1]


def test_a_curve_has_a_bar_a_step_up_to_its_width() -> None:
    assert curve([1.0, 0.5, 0.0]) == "1 █▅▁ 0"
    assert curve([2.0, 2.0]) == "2 ▁▁ 2"
    assert len(curve([float(n) for n in range(1000)]).split()[1]) <= 60


@pytest.mark.parametrize("kind", ["rollouts", "verdicts"])
def test_show_prints_transcripts_with_verdict_and_reason(store: ArtifactStore, msm: Run, kind: str) -> None:
    small_root.verdicts(store)
    _, printed = msm("show", f"{store.root}/{kind}/preferences-values.aft-s0", "-n", "10")
    assert printed.count("system: Be [brief].") == 10 and printed.count("values/aft: Tea ") == 10
    assert "verdict: True, names [tea]" in printed and "verdict: unclear" in printed
    assert "3 of 9 true (0.33)" in printed


def test_show_prints_answers_that_nobody_judged_yet_and_questions(store: ArtifactStore, msm: Run) -> None:
    small_root.verdicts(store)
    draft, *_ = begin(store, "rollouts/preferences-values.aft-s1", ("items/preferences",))
    whole = json.dumps({"sample": "i1", "epoch": 1, "text": "Coffee.", "stop": "stop", "tokens": 2})
    (draft / "answers.jsonl").write_text(f'{whole}\n{{"sample": "i2", "epo')  # as it is while it runs
    _, printed = msm("show", draft)
    assert "draft" in printed and "answer: Coffee." in printed and "user: Tea or [bold]" in printed
    _, printed = msm("show", f"{store.root}/items/preferences", "-n", "1")
    assert "user: Tea or [bold]" in printed and "by condition: a: 5, b: 5" in printed


def test_show_prints_the_files_of_what_is_nothing_special(store: ArtifactStore, msm: Run) -> None:
    make(store, "base/x", files={"model/config.json": "{}"}, source="[hub]/x")
    _, printed = msm("show", f"{store.root}/base/x")
    assert "model/config.json 2 B" in printed and "source [hub]/x" in printed


@pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])
def test_show_tells_what_there_is_of_what_is_not_whole(store: ArtifactStore, msm: Run, kind: str) -> None:
    key = f"{kind}/x-s0"
    draft, *_ = begin(store, key)
    code, printed = msm("show", draft)
    assert code == 0 and "begun and not finished" in printed
    damaged = make(store, key, files={"data.txt": "x"})
    (damaged / "data.txt").unlink()
    code, printed = msm("show", damaged)
    assert code == 0 and "data.txt is missing" in printed


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "120 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_ages_are_said_as_people_do(seconds: float, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (93_400, "93 kB"), (2e9, "2.0 GB")]
)
def test_sizes_are_said_as_people_do(number: float, said: str) -> None:
    assert size(number) == said


def test_results_are_the_rates_and_verdicts_of_every_seed(store: ArtifactStore) -> None:
    for seed in (0, 1):
        small_root.verdicts(store, seed=seed)
    small_root.verdicts(store, task="answers")
    found = msm_ray.results(store.root)
    assert found.verdicts.num_rows == 30 and set(found.verdicts["seed"].to_pylist()) == {0, 1}
    (whole,) = [row for row in found.rates.to_pylist() if row["condition"] is None]
    assert (whole["eval"], whole["arm"], whole["clear"], whole["asked"], whole["seeds"]) == (
        "preferences", "values/aft", 18, 20, 2,
    )  # fmt: skip
    scored = [
        Verdict(r["arm"], r["eval"], r["condition"], r["cluster"], r["seed"], r["sample"], r["verdict"], r["status"], r["unit"])
        for r in found.verdicts.to_pylist()
        if r["eval"] == "preferences"
    ]  # fmt: skip
    expected = rate(scored)
    assert (whole["rate"], whole["low"], whole["high"]) == (expected.rate, expected.low, expected.high)
    frames = found.to_pandas()
    assert len(frames.rates) == 3 and frames.verdicts["seed"].sum() == 10


def test_results_need_no_pandas_until_they_are_asked_for_frames(store: ArtifactStore) -> None:
    small_root.verdicts(store)
    code = f"""
import sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ImportError("no pandas here")

sys.meta_path.insert(0, NoPandas())
import msm_ray
assert "pyarrow" not in sys.modules
found = msm_ray.results({str(store.root)!r})
assert found.rates.num_rows == 3
try:
    found.to_pandas()
except ImportError:
    print("no pandas")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout == "no pandas\n", ended.stderr
