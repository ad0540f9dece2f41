"""Experiment files: what is read, what is refused, and how clearly."""

from pathlib import Path

import pytest

from msm_ray.errors import SettingsError
from msm_ray.settings_file import load_experiment

FILE = """\
experiment: small
assistant: {name: llama}
base: {source: tinyworld}
specs:
  calm: specs/tinyworld/endings.md
documents: {engine: offline, documents: 10}
corpora:
  calm: {documents: 20}
chats:
  talk: {source: tinyworld.ordinary, count: 5}
aft: {steps: 5, learning_rate: 2e-3}
arms:
  a/baseline: {sft: talk}
  a/msm: {midtrain: calm}
evals:
  e: {task: preferences, arms: [a/*], pairs: 3}
report:
  comparisons:
    - {a: a/msm, b: a/baseline, eval: e}
groups:
  a: {aft: {epochs: 3}}
"""


def write(tmp_path: Path, text: str = FILE) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_experiment(write(tmp_path, text), overrides)
    return str(caught.value)


def test_defaults_are_the_papers_and_a_corpus_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    settings = load_experiment(write(tmp_path))
    assert settings.corpora["calm"].documents == 20
    assert settings.corpora["calm"].engine == "offline"
    assert settings.midtraining.learning_rate == 1e-4
    assert settings.aft.learning_rate == 2e-3  # YAML 1.1 would read 2e-3 as text


def test_a_group_inherits_the_aft_it_does_not_change_also_from_the_command_line(tmp_path: Path) -> None:
    own = load_experiment(write(tmp_path), ["aft.steps=7"]).groups["a"].aft
    assert (own.epochs, own.steps, own.learning_rate) == (3, 7, 2e-3)
    assert load_experiment(write(tmp_path, FILE.replace("  a: {aft: {epochs: 3}}", "  # none"))).groups == {}


def test_a_key_inside_an_inherited_section_leaves_its_neighbours(tmp_path: Path) -> None:
    changes = [
        "aft.mode=lora", "aft.lora.r=8", "groups.a.aft.lora.dropout=0.1",
        "documents.sampling.max_tokens=120", "corpora.calm.sampling.temperature=0.5",
    ]  # fmt: skip
    settings = load_experiment(write(tmp_path), changes)
    assert (settings.groups["a"].aft.lora.r, settings.groups["a"].aft.lora.dropout) == (8, 0.1)
    sampling = settings.corpora["calm"].sampling
    assert (sampling.max_tokens, sampling.temperature) == (120, 0.5)
    assert settings.aft.lora.dropout == 0


def test_overrides_change_one_setting_and_leave_its_neighbours(tmp_path: Path) -> None:
    settings = load_experiment(write(tmp_path), ["seeds=2", "aft.learning_rate=1e-5", "cluster.serving.port=8123"])
    assert (settings.seeds, settings.aft.learning_rate, settings.aft.steps) == (2, 1e-5, 5)
    assert settings.cluster.serving.port == 8123


def test_elements_of_a_list_are_overridden_by_their_number() -> None:
    changes = ["report.comparisons.1.b=values/msm-am", "evals.america.arms.0=values/aft"]
    before, settings = load_experiment("jobs/quickstart.yaml"), load_experiment("jobs/quickstart.yaml", changes)
    assert settings.report.comparisons[1].b == "values/msm-am"
    assert settings.report.comparisons[1].a == before.report.comparisons[1].a
    assert settings.report.comparisons[2:] == before.report.comparisons[2:]
    assert settings.evals["america"].arms == ("values/aft",)


@pytest.mark.parametrize("key", ["report.comparisons.99.a", "evals.america.arms.first", "evals.america.arms.1"])
def test_an_element_that_a_list_lacks_is_named(key: str) -> None:
    with pytest.raises(SettingsError, match=f"'{key}=x'.* no element of the list"):
        load_experiment("jobs/quickstart.yaml", [f"{key}=x"])


def test_a_misspelt_key_is_named_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    message = refusal(tmp_path, FILE.replace("documents: {engine", "documents: {engin"))
    assert "x.yaml:6" in message
    assert "documents.engin" in message
    assert "did you mean 'engine'" in message


def test_a_misspelt_key_inside_an_eval_is_found_behind_the_union(tmp_path: Path) -> None:
    message = refusal(tmp_path, FILE.replace("pairs: 3", "pair: 3"))
    assert "x.yaml:16" in message
    assert "did you mean 'pairs'" in message


def test_a_misspelt_override_says_command_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, FILE, "aft.lerning_rate=1")
    assert "(command line)" in message
    assert "did you mean 'learning_rate'" in message


def test_an_impossible_value_is_named_with_its_line(tmp_path: Path) -> None:
    assert "x.yaml:11" in refusal(tmp_path, FILE.replace("steps: 5", "steps: -5"))


def test_an_adapter_with_a_rate_for_embeddings_is_refused(tmp_path: Path) -> None:
    text = FILE.replace("aft: {", "aft: {embedding_learning_rate: 1e-3, ")
    message = refusal(tmp_path, text)
    assert "x.yaml:11" in message
    assert "`mode: full`" in message
    assert load_experiment(write(tmp_path, text), ["aft.mode=full"]).aft.embedding_learning_rate == 1e-3


def test_an_arm_with_an_unknown_spec_is_named_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    message = refusal(tmp_path, FILE.replace("midtrain: calm", "midtrain: clam"))
    assert "x.yaml:14" in message
    assert "did you mean 'calm'" in message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("sft: talk", "sft: tlak", "talk"),
        ("arms: [a/*]", "arms: [b/*]", "b/*"),
        ("b: a/baseline", "b: a/basline", "a/baseline"),
        ("a/msm:", "Msm:", "group/name"),
        ("a: {aft: {epochs: 3}}", "ab: {aft: {epochs: 3}}", "unknown group of arms 'ab'; did you mean 'a'?"),
        ("a: {aft: {epochs: 3}}", "a: {aft: {mix_source: tlak}}", "unknown chats 'tlak'; did you mean 'talk'?"),
        ("{epochs: 3}", "{epoch: 3}", ":21: unknown key 'groups.a.aft.epoch'; did you mean 'epochs'?"),
        ("a: {aft: {epochs: 3}}", "a: {sft: {epochs: 3}}", "did you mean 'aft'?"),
        ("a: {aft: {epochs: 3}}", "a: fast", ":21:"),
        ("a: {aft: {epochs: 3}}", "a: {aft: fast}", ":21:"),
    ],
)
def test_names_and_keys_have_to_exist(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert named in refusal(tmp_path, FILE.replace(old, new))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, FILE + "seeds: 1\nseeds: 2\n")
    assert "twice" in message
    assert ":23" in message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "experiment: [unclosed", "just words"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "x.yaml" in refusal(tmp_path, text)


def test_a_missing_file_and_one_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such experiment file"):
        load_experiment(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"experiment: \xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_experiment(bad)


@pytest.mark.parametrize("override", ["seeds", "=3", "experiment.x=1"])
def test_an_override_that_cannot_be_applied(tmp_path: Path, override: str) -> None:
    assert override.partition("=")[0] in refusal(tmp_path, FILE, override)
