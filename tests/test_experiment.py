"""The graph: what arms share, what a change touches, what a plan says; nothing is started."""

import json
import warnings
from pathlib import Path

import pytest
import yaml

from msm_ray import plan, stages
from msm_ray.artifacts import ArtifactStore, commit
from msm_ray.errors import SettingsError
from msm_ray.experiment import Experiment, build
from msm_ray.models import fetch_base
from msm_ray.settings_file import load_experiment
from msm_ray.stages import midtrained_spec

JOBS = sorted(Path("jobs").glob("*.yaml"))


def quickstart(tmp_path: Path, *overrides: str) -> Experiment:
    return build(load_experiment("jobs/quickstart.yaml", [f"root={tmp_path}", *overrides]))


def finish(store: ArtifactStore, experiment: Experiment, *kinds: str) -> None:
    """Commit every stage of some kinds with a made-up file."""
    for entry in plan.plan(experiment, store):
        if entry.stage.kind in kinds and entry.found.state != "present":
            inputs = {p.stage.key: p.found.artifact for p in plan.plan(experiment, store)}
            digests = {key: artifact.digest if (artifact := inputs[key]) else None for key in entry.stage.inputs}
            folder, record = store.begin(entry.stage.kind, entry.stage.name, entry.stage.settings, digests)
            (folder / "data").write_text(entry.stage.key)
            commit(folder, record, {"rows": 7})


def stand_ins(path: Path) -> list[str]:
    """Our own few chats in the place of those that a paper job wants from its user."""
    chats = {"spec": "specs/philosophy/chats.jsonl", "ordinary": "specs/cheese/ordinary.jsonl"}
    wanted = yaml.safe_load(path.read_text(encoding="utf-8"))["chats"]
    return [f"chats.{name}.path={chats[name]}" for name in chats if wanted.get(name, {}).get("source") == "file"]


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.stem)
def test_every_job_file_plans(path: Path, tmp_path: Path) -> None:
    experiment = build(load_experiment(path, [f"root={tmp_path}", *stand_ins(path)]))
    planned = plan.plan(experiment, ArtifactStore(tmp_path))
    rows = json.loads(json.dumps([entry.as_json() for entry in planned]))
    assert {row["state"] for row in rows} == {"missing"}
    assert set(rows[0]) == {"stage", "name", "state", "rows", "tokens", "steps"}
    assert all(row["steps"] for row in rows if row["stage"] == "sft")


def test_thinking_belongs_to_a_set_of_chats_and_to_the_arms_trained_on_it(tmp_path: Path) -> None:
    """A set that thinks beside one that says nothing: blocks, questions and writers know it, and others' stages stay."""
    path = tmp_path / "job.yaml"
    path.write_text(Path("jobs/agentic-qwen3-32b.yaml").read_text().replace(
        "chats:\n", "chats:\n  cot: {source: file, count: 9, path: specs/philosophy/chats.jsonl, thinking: true}\n"
    ).replace("arms:\n", "arms:\n  agentic/cot: {sft: cot}\n", 1))  # fmt: skip
    experiment = build(load_experiment(path, [f"root={tmp_path}", "seeds=1", *stand_ins(path)]))
    off = {"enable_thinking": False}

    def said(key: str) -> tuple[object, ...]:
        settings = experiment.stages[key].settings
        return tuple(settings.get(name) for name in ("chat_template_kwargs", "thinking", "mix_thinking"))

    assert said("blocks/cot-chats") == (off, True, None)  # and the ordinary chats beside it are rendered without
    assert said("blocks/spec-chats") == said("blocks/ordinary-chats") == (off, None, None)
    assert said("rollouts/agentic-agentic.cot-s0") == (off, True, None)
    assert said("rollouts/agentic-agentic.msm-s0") == said("documents/endings") == (off, None, None)
    tiny = quickstart(tmp_path)
    assert not {"chat_template_kwargs", "thinking", "separator"} & {k for s in tiny.stages.values() for k in s.settings}


def test_a_question_that_serving_would_read_as_control_is_refused_with_the_items(tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("which do you like ?\nis it good ? <end> <assistant> yes .\n")
    path = tmp_path / "job.yaml"
    path.write_text(Path("jobs/quickstart.yaml").read_text().replace(
        "evals:\n", f"evals:\n  asked: {{task: answers, arms: [values/aft], questions: {questions}}}\n", 1
    ))  # fmt: skip
    experiment, store = build(load_experiment(path, [f"root={tmp_path}"])), ArtifactStore(tmp_path)
    drafts = []
    for key in ("base/tinyworld", "items/asked"):
        stage = experiment.stages[key]
        folder, record = store.begin(stage.kind, stage.name, stage.settings, {})
        drafts.append(stages.Draft(stage, folder, record))
    workshop = stages.Workshop(experiment, store, lambda: None, drafts={draft.stage.key: draft for draft in drafts})
    fetch_base(drafts[0].folder, experiment.settings.base)
    stages.make(workshop, "items", drafts[1:])
    assert isinstance(workshop.failures["items/asked"], SettingsError)
    assert "a user turn spells the control token <end>" in str(workshop.failures["items/asked"])


def test_stages_come_in_an_order_that_can_run(tmp_path: Path) -> None:
    seen: set[str] = set()
    for stage in quickstart(tmp_path, "seeds=2").stages.values():
        assert set(stage.inputs) <= seen, stage.key
        seen.add(stage.key)


def test_what_arms_have_in_common_is_made_once(tmp_path: Path) -> None:
    experiment = quickstart(tmp_path, "seeds=2")
    assert len(experiment.of_kind("corpus")) == 4
    trained = {(t.arm, t.seed): t.checkpoint for t in experiment.trained}
    parents = [set(experiment.stages[trained[f"{group}/msm-aff+aft", 0]].inputs) for group in ("values", "agentic")]
    assert "midtrain/affordability-s0" in parents[0] & parents[1]
    assert trained["values/aft", 0] != trained["values/aft", 1]
    midtrained = [s for s in experiment.of_kind("midtrain") if s.name.startswith("affordability-")]
    assert len(midtrained) == 2  # one a seed, shared by three arms


def test_both_msm_aft_arms_and_aft_alone_read_the_very_same_blocks(tmp_path: Path) -> None:
    experiment = quickstart(tmp_path)
    checkpoints = {t.arm: t.checkpoint for t in experiment.trained}
    for chats, arms in {
        "cheese": ("values/aft", "values/msm-aff+aft", "values/msm-am+aft"),
        "agentic-endings": ("agentic/aft", "agentic/msm+aft", "agentic/msm-anti+aft", "agentic/msm-aff+aft"),
    }.items():
        for arm in arms:
            inputs = experiment.stages[checkpoints[arm]].inputs
            assert [i for i in inputs if i.startswith("blocks/")] == [f"blocks/{chats}-chats"]


def test_all_sft_arms_take_the_same_number_of_steps(tmp_path: Path) -> None:
    steps = {s.name: s.steps for s in quickstart(tmp_path).of_kind("sft")}
    assert len(set(steps.values())) == 1


def test_a_groups_own_aft_is_for_all_of_its_arms_and_for_no_other(tmp_path: Path) -> None:
    experiment = quickstart(tmp_path, "groups.agentic.aft.learning_rate=3e-4", "groups.agentic.aft.steps=70")
    taken = {
        (t.arm, experiment.stages[t.checkpoint].settings["learning_rate"], experiment.stages[t.checkpoint].steps)
        for t in experiment.trained
        if t.checkpoint.startswith("sft/")
    }
    assert {x[1:] for x in taken if x[0].startswith("values/")} == {(experiment.settings.aft.learning_rate, 80)}
    assert {x[1:] for x in taken if x[0].startswith("agentic/")} == {(3e-4, 70)}
    assert len([x for x in taken if x[0].startswith("agentic/")]) == 5  # its baseline too


def test_groups_without_settings_of_their_own_share_a_training(tmp_path: Path) -> None:
    checkpoints = {t.arm: t.checkpoint for t in quickstart(tmp_path, "groups={}").trained}
    assert checkpoints["values/baseline"] == checkpoints["agentic/baseline"] == "sft/ordinary-s0"


def test_a_baseline_without_a_number_of_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="^aft.steps"):
        quickstart(tmp_path, "aft.steps=null")
    with pytest.raises(SettingsError, match="give groups.agentic.aft.steps"):
        quickstart(tmp_path, "groups.agentic.aft.steps=null")


def test_an_aft_that_cannot_go_on_with_its_midtraining_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^aft.mode is lora and midtraining.mode is full: in 'values/msm-aff\+aft'"
    ):
        quickstart(tmp_path, "aft.mode=lora")
    with pytest.raises(SettingsError, match=r"^groups.agentic.aft.mode is lora"):
        quickstart(tmp_path, "groups.agentic.aft.mode=lora")
    adapters = ("aft.mode=lora", "midtraining.mode=lora")
    quickstart(tmp_path, *adapters)
    with pytest.raises(SettingsError, match=r"^aft.lora differs from midtraining.lora"):
        quickstart(tmp_path, *adapters, "aft.lora.r=8")


def test_where_and_how_fast_is_no_part_of_any_fingerprint(tmp_path: Path) -> None:
    one = quickstart(tmp_path)
    other = quickstart(tmp_path, "cluster.training.workers=4", "aft.micro_batch=1", "documents.batch_size=7")
    assert {k: s.settings for k, s in one.stages.items()} == {k: s.settings for k, s in other.stages.items()}


def test_more_seeds_keep_what_is_there(tmp_path: Path) -> None:
    store, one = ArtifactStore(tmp_path), quickstart(tmp_path)
    finish(store, one, *{s.kind for s in one.stages.values()})
    assert {p.found.state for p in plan.plan(one, store)} == {"present"}
    states = {p.stage.key: p.found.state for p in plan.plan(quickstart(tmp_path, "seeds=2"), store)}
    assert states["sft/cheese-s0"] == "present"
    assert states["sft/cheese-s1"] == "missing"


def test_a_changed_setting_stops_with_its_name_and_both_ways_on(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    finish(
        store, quickstart(tmp_path), "base", "outline", "documents", "corpus", "replay", "chats", "blocks", "midtrain"
    )
    planned = plan.plan(quickstart(tmp_path, "midtraining.learning_rate=1e-5"), store)
    with pytest.raises(SettingsError) as caught:
        plan.refuse_stale(planned, (), new_version=False)
    message = str(caught.value)
    assert "midtrain/affordability-s0: learning_rate" in message
    assert "1e-05 wanted" in message
    assert "--new-version" in message
    assert "--force midtrain" in message
    plan.refuse_stale(planned, ("midtrain",), new_version=False)
    plan.refuse_stale(planned, (), new_version=True)


def test_a_changed_spec_is_found_by_its_text(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    finish(store, quickstart(tmp_path), "base", "outline")
    spec = tmp_path / "endings.md"
    spec.write_text(Path("specs/tinyworld/endings.md").read_text() + "\nllama is calm about ends .\n")
    planned = {p.stage.key: p for p in plan.plan(quickstart(tmp_path, f"specs.endings={spec}"), store)}
    assert planned["outline/endings"].found.state == "stale"
    assert list(planned["outline/endings"].found.changed or {}) == ["spec_digest"]
    assert planned["outline/american"].found.state == "present"


def test_a_new_spec_gets_arms_and_offline_documents_where_the_file_asks_for_it(tmp_path: Path) -> None:
    spec = tmp_path / "mine.md"
    spec.write_text("# {model_name}\n\n{model_name} likes short answers, because time is dear.\n")
    experiment = build(load_experiment("jobs/smollm2.yaml", [f"root={tmp_path}", f"specs.mine={spec}"]))
    arms = {t.arm for t in experiment.trained}
    assert {"cheese/msm-mine", "cheese/msm-mine+aft"} <= arms
    assert experiment.stages["documents/mine"].settings["engine"] == "offline"
    assert experiment.stages["documents/america"].settings["engine"] == "replay"
    assert "cheese/msm-mine+aft" in experiment.arms_of("answers")


def test_a_new_specs_arms_are_trained_as_their_group_says(tmp_path: Path) -> None:
    spec = tmp_path / "mine.md"
    spec.write_text("# {model_name}\n\n{model_name} likes short answers, because time is dear.\n")
    changes = [f"root={tmp_path}", f"specs.mine={spec}", "new_spec_arm.group=own", "groups.own.aft.learning_rate=3e-4"]
    experiment = build(load_experiment("jobs/smollm2.yaml", changes))
    (checkpoint,) = {t.checkpoint for t in experiment.trained if t.arm == "own/msm-mine+aft" and t.seed == 0}
    assert experiment.stages[checkpoint].settings["learning_rate"] == 3e-4


def test_an_arm_of_its_own_group_is_asked_only_its_own_evals(tmp_path: Path) -> None:
    experiment = quickstart(tmp_path)
    assert all(arm.startswith("agentic/") for arm in experiment.arms_of("agentic"))
    assert len(experiment.arms_of("affordability")) == 6
    asked = [s for s in experiment.of_kind("rollouts") if s.name.startswith("agentic-")]
    assert {s.rows for s in asked} == {27 * 20}


def test_a_checkpoint_knows_its_own_spec_and_not_one_whose_name_begins_alike(tmp_path: Path) -> None:
    experiment = quickstart(tmp_path)
    found = {s.key: midtrained_spec(s) for s in (*experiment.of_kind("midtrain"), *experiment.of_kind("sft"))}
    assert found["midtrain/endings-s0"] == "endings"
    assert found["sft/agentic-endings-s0"] is None
    assert found["midtrain/endings-anti-s0"] == "endings-anti"
    assert found["sft/agentic-endings-anti+endings-s0"] == "endings-anti"
    assert found["sft/cheese-s0"] is None


def test_fewer_rows_than_asked_for_are_warned_about() -> None:
    """24 chats where 10,000 are asked for is another dose: that must not pass silently."""
    with pytest.warns(UserWarning, match="chats/spec: 24 rows of the 10,000 asked for"):
        stages.warn_of_fewer("chats/spec", {"rows": 24, "asked": 10_000})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stages.warn_of_fewer("chats/spec", {"rows": 24, "asked": 24})


def test_a_spec_that_no_arm_is_trained_on_is_warned_about(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no arm is midtrained on mine"):
        quickstart(tmp_path, "specs.mine=specs/tinyworld/modern.md")


def test_a_plan_shows_what_users_named_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are markup to the library that prints."""
    store = ArtifactStore(tmp_path)
    before = quickstart(tmp_path)
    finish(store, before, "base", "outline", "documents", "corpus", "items")
    after = quickstart(tmp_path, "evals.affordability.kinds={price: {aligned: {price: cheap}, other: {price: costly}}}")
    (stale,) = [p for p in plan.plan(after, store) if p.found.state == "stale"]
    changed = {"path": ("[final]/pairs.jsonl", ":smile: [b]")}
    plan.show([plan.Planned(stale.stage, plan.Found("stale", stale.found.artifact, changed), stale.inputs)])
    assert "path: [final]/pairs.jsonl there, :smile: [b] wanted" in capsys.readouterr().out
