"""What a run makes, wipes and goes on with. The stages themselves are stood in for by one that writes a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from msm_ray import plan, runner, stages
from msm_ray.artifacts import ArtifactStore, commit
from msm_ray.errors import OutOfMeans, QualityGateError, SettingsError, StageError
from msm_ray.experiment import CONTENT_VERSIONS, Experiment, build
from msm_ray.progress import status
from msm_ray.settings_file import load_experiment
from msm_ray.stages import Draft, Workshop

Make = Callable[[Workshop, str, Sequence[Draft]], None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Experiment, ArtifactStore, list[str]]:
    """An experiment, its store, and the list to which every stage that is made is added."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(runner, "_last_words", lambda *_: None)
    made: list[str] = []

    def make(workshop: Workshop, kind: str, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            write(draft, made)
            workshop.finish(draft, {"rows": 1})

    monkeypatch.setattr(stages, "make", make)
    experiment = build(load_experiment("jobs/quickstart.yaml", [f"root={tmp_path / 'root'}"]))
    return experiment, ArtifactStore(tmp_path / "root"), made


def write(draft: Draft, made: list[str]) -> None:
    (draft.folder / "data").write_text(draft.stage.key)
    made.append(draft.stage.key)


def test_a_forced_stage_takes_those_that_go_on_from_it_along(
    world: tuple[Experiment, ArtifactStore, list[str]],
) -> None:
    experiment, store, made = world
    runner.run(experiment, store)
    made.clear()
    runner.run(experiment, store, force=("midtrain/affordability-s0",))
    assert set(made) == {
        "midtrain/affordability-s0",
        "sft/affordability+cheese-s0",
        "sft/agentic-affordability+endings-s0",
    }  # equal bytes: what was made from these is still right
    made.clear()
    runner.run(experiment, store)
    assert made == []


def test_an_interrupted_force_goes_on_and_wipes_nothing_twice(
    world: tuple[Experiment, ArtifactStore, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, store, made = world
    runner.run(experiment, store)
    whole = stages.make

    def interrupted(workshop: Workshop, kind: str, drafts: Sequence[Draft]) -> None:
        write(drafts[0], made)
        workshop.finish(drafts[0], {"rows": 1})
        (drafts[1].folder / "half").write_text("paid for")
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(experiment, store, force=("documents",))
    monkeypatch.setattr(stages, "make", whole)
    made.clear()
    names = [stage.key for stage in experiment.of_kind("documents")]
    second = store.root / (names[1] + "@1")
    assert (second / "half").exists()
    with pytest.raises(
        SettingsError, match="corpus"
    ):  # the half file makes other documents than before: said, not hidden
        runner.run(experiment, store, force=("documents",))
    assert made == names[1:]
    assert (second / "half").exists()


def test_a_change_that_is_refused_has_wiped_nothing(world: tuple[Experiment, ArtifactStore, list[str]]) -> None:
    experiment, store, made = world
    runner.run(experiment, store)
    before = {a.folder: a.digest for a in store.all()}
    other = build(load_experiment("jobs/quickstart.yaml", [f"root={store.root}", "aft.learning_rate=0.5"]))
    with pytest.raises(SettingsError, match="learning_rate"):
        runner.run(other, store, force=("midtrain/endings-s0",))
    assert {a.folder: a.digest for a in store.all()} == before


def failing(workshop: Workshop, made: list[str], drafts: Sequence[Draft], errors: dict[str, Exception]) -> None:
    for draft in drafts:
        if draft.stage.key in errors:
            workshop.fail(draft, errors[draft.stage.key])
        else:
            write(draft, made)
            workshop.finish(draft, {"rows": 1})


def test_a_failing_stage_stops_what_depends_on_it_and_nothing_else(
    world: tuple[Experiment, ArtifactStore, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    experiment, store, made = world
    errors: dict[str, Exception] = {
        "blocks/american-documents": QualityGateError("the tokenizer knows none of the words"),
        "blocks/agentic-endings-chats": KeyError("a bug"),
    }
    monkeypatch.setattr(stages, "make", lambda workshop, kind, drafts: failing(workshop, made, drafts, errors))
    with pytest.raises(QualityGateError) as caught:  # the first failure's kind, and so its exit code
        runner.run(experiment, store)
    lines = str(caught.value).splitlines()
    assert lines[0] == "blocks/american-documents failed: the tokenizer knows none of the words"
    assert "wait for it: midtrain/american-s0, sft/american+cheese-s0" in lines[1]
    assert lines[2] == "blocks/agentic-endings-chats failed: not foreseen, please report it: KeyError: 'a bug'"
    assert "KeyError: 'a bug'" in capsys.readouterr().err  # with its traceback
    assert {"sft/affordability+cheese-s0", "verdicts/america-values.msm-aff+aft-s0"} <= set(made)
    waits = {key for key in experiment.stages if "msm-am" in key} | {"midtrain/american-s0", "report/quickstart"}
    assert not {*waits, "sft/agentic-endings-s0"} & set(made)
    told = status.read(store.root)
    assert (told["state"], told["exit_code"]) == ("failed", 4)
    by_state = {state: {k for k, s in told["stages"].items() if s["state"] == state} for state in status.ORDER}
    assert (by_state["failed"], by_state["done"]) == (set(errors), set(made))
    assert by_state["waiting"] >= waits
    assert told["stages"]["blocks/agentic-endings-chats"]["why"] == "'a bug'"
    before = list(made)
    errors.clear()
    runner.run(experiment, store)
    assert not set(before) & set(made[len(before) :])
    assert set(made) == set(experiment.stages)


@pytest.mark.parametrize("error", [OutOfMeans("quota"), OSError(28, "No space left on device")])
def test_spent_means_and_a_full_disk_stop_everything(
    world: tuple[Experiment, ArtifactStore, list[str]], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    experiment, store, made = world
    errors = {"documents/american": error}
    monkeypatch.setattr(stages, "make", lambda workshop, kind, drafts: failing(workshop, made, drafts, errors))
    with pytest.raises(type(error)):
        runner.run(experiment, store)
    assert not [key for key in made if key.startswith(("corpus", "chats"))]


def test_an_error_that_ends_a_group_leaves_what_was_committed_and_goes_on_with_the_rest(
    world: tuple[Experiment, ArtifactStore, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, store, made = world
    whole = stages.make

    def crash(workshop: Workshop, kind: str, drafts: Sequence[Draft]) -> None:
        if kind != "midtrain":
            whole(workshop, kind, drafts)
            return
        whole(workshop, kind, drafts[:1])
        write(drafts[1], made)
        commit(drafts[1].folder, drafts[1].record, {"rows": 1})  # by its worker, whose driver then met the error
        raise StageError("the worker group died")

    monkeypatch.setattr(stages, "make", crash)
    with pytest.raises(StageError, match="the worker group died"):
        runner.run(experiment, store)
    keys = [stage.key for stage in experiment.of_kind("midtrain")]
    assert keys[0] in made and "items/america" in made
    assert "rollouts/america-values.msm-aff-s0" in made  # its checkpoint was there
    monkeypatch.setattr(stages, "make", whole)
    made.clear()
    runner.run(experiment, store)
    assert not {keys[0], keys[1]} & set(made)


def test_the_one_by_one_stages_go_on_after_one_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Really made: a set of chats that cannot be, between two that can."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (tmp_path / "chats.jsonl").write_text('{"messages": [{"role": "user", "content": "Hello?"}]}\n')
    changes = [f"root={tmp_path / 'root'}", "chats.cheese.source=file", f"chats.cheese.path={tmp_path / 'chats.jsonl'}"]
    experiment = build(load_experiment("jobs/quickstart.yaml", [*changes, "chats.endings.count=20"]))
    store = ArtifactStore(tmp_path / "root")
    monkeypatch.setattr(runner, "GROUPS", (("chats",),))
    with pytest.raises(QualityGateError, match="chats/cheese failed: .*rejected"):
        runner.run(experiment, store, until="chats")
    assert {(a.stage, a.name) for a in store.all()} == {("chats", "endings"), ("chats", "ordinary")}


def test_a_root_that_was_copied_halfway_is_named_and_never_built_on(
    world: tuple[Experiment, ArtifactStore, list[str]],
) -> None:
    experiment, store, made = world
    runner.run(experiment, store)
    made.clear()
    (store.root / "documents/affordability@1/data").unlink()
    (store.root / "sft/cheese-s0@1/data").write_text("")
    for command in (lambda: runner.run(experiment, store), lambda: runner.run(experiment, store, force=("report",))):
        with pytest.raises(SettingsError) as caught:
            command()
        assert "documents/affordability@1 is not what was committed: data is missing" in str(caught.value)
        assert "sft/cheese-s0@1 is not what was committed: data is empty" in str(caught.value)
    assert made == []
    states = {p.stage.key: p.found.state for p in plan.plan(experiment, store)}
    assert [key for key, state in states.items() if state != "present"] == ["documents/affordability", "sft/cheese-s0"]
    runner.run(experiment, store, force=("documents/affordability", "sft/cheese-s0"))
    assert made == ["documents/affordability", "sft/cheese-s0"]


def test_an_edited_outline_is_said_and_what_was_made_from_it_is_stale(
    world: tuple[Experiment, ArtifactStore, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, store, made = world

    def with_outlines(workshop: Workshop, kind: str, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            (draft.folder / "outline.yaml").write_text("made by rules")
        failing(workshop, made, drafts, {})

    monkeypatch.setattr(stages, "make", with_outlines)
    runner.run(experiment, store)
    (store.root / "outline/american@1/outline.yaml").write_text("edited")
    with (
        pytest.warns(UserWarning, match="outline/american: outline.yaml was edited"),
        pytest.raises(SettingsError) as told,
    ):
        runner.run(experiment, store)
    assert "documents/american: input outline/american" in str(told.value)
    made.clear()
    with pytest.warns(UserWarning, match="edited"):
        runner.run(experiment, store, new_version=True)
    assert "documents/american" in made and "outline/american" not in made and "documents/endings" not in made


def test_what_another_version_of_the_program_made_is_stale_and_says_why(
    world: tuple[Experiment, ArtifactStore, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, store, _ = world
    runner.run(experiment, store)
    monkeypatch.setitem(CONTENT_VERSIONS, "documents", CONTENT_VERSIONS["documents"] + 1)
    other = build(load_experiment("jobs/quickstart.yaml", [f"root={store.root}"]))
    with pytest.raises(
        SettingsError, match="documents/american: made by a version of msm_ray that makes other documents"
    ):
        runner.run(other, store)
