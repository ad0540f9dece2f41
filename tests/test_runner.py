"""What a run makes, wipes and goes on with. The stages themselves are stood in for by one that writes a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from msm_ray import runner, stages
from msm_ray.artifacts import ArtifactStore
from msm_ray.errors import SettingsError
from msm_ray.experiment import Experiment, build
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
