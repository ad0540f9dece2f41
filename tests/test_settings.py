"""Experiment files: what is read, what is refused, and how clearly."""

from pathlib import Path

import pytest

from msm_ray.config.file import WrongSettings, load_experiment, read_experiment
from msm_ray.errors import SettingsError
from msm_ray.pipeline import unfold
from msm_ray.preflight import Proposal, check, check_rest

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


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("aft: {steps: 5", "aft: {stpes: 5", "x.yaml:11: unknown key 'aft.stpes'; did you mean 'steps'?"),
        ("aft: {steps: 5", "aft: {steps: -5", "x.yaml:11: 'aft.steps' = -5"),
        ("aft: {steps: 5", "aft: {mix_source: tlak, steps: 5", "x.yaml:11: 'aft.mix_source': unknown chats 'tlak'"),
        (
            "{engine: offline,",
            "{prompt: tinyworld,",
            "'documents.prompt'; two settings took its place: `world` at the top level",
        ),
        ("  calm: {documents", "  calm: {prompt: plain, documents", "`documents.ask` (chat or completion)"),
        ("base: {", "world: tinworld\nbase: {", "x.yaml:3: 'world' = 'tinworld': there are plain and tinyworld"),
        ("tinyworld.ordinary", "tinyworld.odd", "Input should be 'tinyworld.preferences', 'tinyworld.endings', "),
        ("offline, documents", "offline, documnts", "x.yaml:6: unknown key 'documents.documnts'"),
        ("assistant: {name", "assistant: {nmae", "x.yaml:2: unknown key 'assistant.nmae'; did you mean 'name'?"),
        ("specs:", "spec:", "x.yaml:4: unknown key 'spec'; did you mean 'specs'?"),
        ("arms:\n", "arm:\n", "x.yaml:12: unknown key 'arm'; did you mean 'arms'?"),
        ("midtrain: calm", "midtrain: clam", "x.yaml:14: 'arms.a/msm.midtrain': unknown spec 'clam'"),
        ("midtrain: calm", "midtrian: calm", "x.yaml:14: unknown key 'arms.a/msm.midtrian'"),
        ("sft: talk", "sft: tlak", "x.yaml:13: 'arms.a/baseline.sft': unknown chats 'tlak'"),
    ],
)
def test_a_typo_is_told_once(tmp_path: Path, old: str, new: str, named: str) -> None:
    """Neither again where it is inherited, nor for what then is missing, unknown or unused."""
    path = write(tmp_path)
    without = {finding.what for finding in check(Proposal(read_experiment(path)))}
    write(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(WrongSettings) as caught:
        load_experiment(path)
    told = [finding.line_of_text() for finding in check_rest(caught.value) if finding.what not in without]
    assert len(told) == 1, told
    assert named in told[0]
    assert str(caught.value).count("\n") == 0


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


ANCHORED = FILE.replace(
    "aft: {steps: 5, learning_rate: 2e-3}", "midtraining: &r\n  steps: 9\n  lora: {r: 4, targets: [q_proj]}\naft: *r"
)


def test_an_override_leaves_what_shares_its_anchor(tmp_path: Path) -> None:
    path = write(tmp_path, ANCHORED)
    settings = load_experiment(
        path, ["aft.steps=50", "aft.lora.r=8", "aft.lora.targets.0=k_proj", "groups.a.aft.steps=7"]
    )
    assert (settings.midtraining.steps, settings.aft.steps, settings.groups["a"].aft.steps) == (9, 50, 7)
    assert (settings.midtraining.lora.r, settings.aft.lora.r) == (4, 8)
    assert (settings.midtraining.lora.targets, settings.aft.lora.targets) == (("q_proj",), ("k_proj",))


def test_an_override_leaves_what_was_merged_from_the_same_anchor(tmp_path: Path) -> None:
    merged = ANCHORED.replace("aft: *r", "aft:\n  <<: *r\n  learning_rate: 1e-3")
    settings = load_experiment(write(tmp_path, merged), ["aft.lora.alpha=7"])
    assert (settings.midtraining.lora.alpha, settings.aft.lora.alpha) == (128, 7)
    assert settings.aft.learning_rate == 1e-3
    message = refusal(tmp_path, merged.replace("steps: 9", "stpes: 9"))
    assert "x.yaml:12" in message and "'aft.stpes'" in message  # where it stands, though it came by another name


def test_a_part_that_contains_itself_and_a_key_that_is_a_list_are_refused(tmp_path: Path) -> None:
    assert "x.yaml:7: this part contains itself" in refusal(
        tmp_path, FILE.replace("corpora:", "corpora: &c\n  self: *c")
    )
    assert "x.yaml:22: a key is a word" in refusal(tmp_path, FILE + "? [a]\n: b\n")
    many = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 20)}]\n" for n in range(1, 9))
    assert "no experiment has that many" in refusal(tmp_path, FILE + "x0: &x0 [1]\n" + many)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("experiment: small", "experiment: small\nseeds: yes", ":2: 'seeds' = 'yes'"),
        ("experiment: small", "experiment: small\nseeds: true", ":2: 'seeds' = true: a number is wanted"),
        ("steps: 5", "steps: on", ":11: 'aft.steps' = 'on'"),
        ("{steps: 5", "{betas: [true, 0.9]", "'aft.betas.0' = true: a number is wanted"),
        ("pairs: 3", "temperature: false", "'evals.e.temperature' = false: a number is wanted"),
        ("pairs: 3", "max_tokens: 1:30", "'evals.e.max_tokens' = '1:30'"),
    ],
)
def test_a_yes_is_no_number(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert named in refusal(tmp_path, FILE.replace(old, new))


def test_a_yes_on_the_command_line_is_no_number_and_all_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, FILE, "seeds=true", "midtraining.steps=on", "root=$NO_SUCH_FOLDER/x", "assistant.nmae=1"
    )
    assert len(message.splitlines()) == 4
    assert message.count("(command line)") == 4


def test_words_that_old_yaml_reads_as_something_else_stay_words(tmp_path: Path) -> None:
    text = FILE.replace("{name: llama}", "{name: on, provider: 1e5x}").replace("calm:", "no:").replace("calm}", "no}")
    settings = load_experiment(write(tmp_path, text.replace("steps: 5", "steps: 010, activation_checkpointing: yes")))
    assert settings.assistant.name == "on"
    assert list(settings.specs) == ["no"]
    assert (settings.aft.steps, settings.aft.activation_checkpointing) == (10, True)


def test_a_variable_in_any_path_is_expanded_and_never_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NOWHERE", raising=False)
    text = FILE.replace("experiment: small", "experiment: small\nroot: $SCRATCH/runs")
    text = text.replace("specs/tinyworld/endings.md", "${SCRATCH}/my.md").replace(
        "report:", "report:\n  question: A $5 or $NOWHERE?"
    )
    settings = load_experiment(write(tmp_path, text), ["base.chat_template=~/t.jinja"])
    assert settings.root == "/scratch/me/runs"
    assert settings.specs["calm"] == "/scratch/me/my.md"
    assert settings.base.chat_template == "/home/me/t.jinja"
    assert settings.report.question == "A $5 or $NOWHERE?"
    for path, named in (
        ("$NOWHERE/x", "$NOWHERE is not set"), ("$(date)", "no variable's name"), ("${A:-b}/x", "no variable's name"),
        ("$API_KEY/x", "looks like a secret"), ("~nobody-at-all/x", "no home folder"),
    ):  # fmt: skip
        message = refusal(tmp_path, text.replace("$SCRATCH/runs", path))
        assert ":2: 'root'" in message and named in message


@pytest.mark.parametrize("root", ["s3:/bucket/run", "gs://", "hdfs://host/x", "file:///x", "' '"])
def test_a_root_that_is_no_folder_is_refused(tmp_path: Path, root: str) -> None:
    assert "(command line): 'root'" in refusal(tmp_path, FILE, f"root={root}")


@pytest.mark.parametrize(
    "text", ["is this issue #12 too?", "#12 again", "Why: because", "[draft] 1e5", "it's 'so'", "*bold* & more", "- a"]
)
def test_a_text_on_the_command_line_is_kept_whole(tmp_path: Path, text: str) -> None:
    path = write(tmp_path)
    assert load_experiment(path, [f"report.question={text}"]).report.question == text
    assert load_experiment(path, [f"evals.e.path={text}"]).evals["e"].path == text  # behind the union, and may be null
    assert load_experiment(path, [f'report.question="{text} # x"']).report.question == f"{text} # x"


def test_a_null_on_the_command_line_takes_a_text_back(tmp_path: Path) -> None:
    path = write(tmp_path, FILE.replace("{source: tinyworld}", "{source: tinyworld, sha256: abc}"))
    assert load_experiment(path, ["base.sha256=null"]).base.sha256 is None


def test_a_new_spec_takes_no_arms_that_are_trained_on_another(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_experiment("jobs/smollm2.yaml", ["specs.am=my.md"])
    assert str(caught.value) == (
        "jobs/smollm2.yaml (command line): 'specs.am': its arm would be called cheese/msm-am, and that arm is there, trained on "
        "america; give the spec another name, e.g. specs.mine=my.md"
    )
    spec = tmp_path / "my.md"
    spec.write_text(Path("specs/cheese/america.md").read_text())
    told = check(Proposal(read_experiment("jobs/smollm2.yaml", [f"specs.america={spec}"])))
    (warned,) = [finding for finding in told if finding.key == "specs.america"]
    assert (warned.severity, warned.line) == ("warning", 0)
    assert warned.what.startswith("cheese/msm-am, cheese/msm-am+aft are midtrained on")
    assert f"specs.mine={spec}" in warned.remedy


def test_a_comparison_or_figure_with_an_arm_that_the_eval_does_not_ask_is_refused(tmp_path: Path) -> None:
    text = FILE.replace("arms: [a/*]", "arms: [a/msm]") + "new_spec_arm: {group: a}\n"
    text = text.replace("report:", "report:\n  figures:\n    - {title: t, eval: e, paper: {a/baseline: 0.5}}")
    with pytest.raises(SettingsError) as caught:
        unfold(load_experiment(write(tmp_path, text)))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "'report.comparisons.0.b'", "'report.figures.0'",
    ]  # fmt: skip
    assert "'a/baseline' is not asked in the eval 'e'" in str(caught.value)
    shown = FILE.replace("{task: preferences, arms: [a/*], pairs: 3}", "{task: answers, arms: [a/*], questions: q.txt}")
    with pytest.raises(SettingsError, match="no rate to compare"):
        unfold(load_experiment(write(tmp_path, shown)))
