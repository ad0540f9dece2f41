"""`msm init`: what it writes can be run as it stands, says why at every choice, and never takes the place of anything."""

import json
import re
from pathlib import Path

import pytest
from test_cli import msm

from msm_ray import preflight, starting
from msm_ray.config.file import load_experiment, read_experiment
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.evals.preferences import judge_preference
from msm_ray.pipeline import unfold
from msm_ray.preflight import Finding
from msm_ray.starting import Wishes

MINE = "# {model_name}\n\n{model_name} likes short answers, because time is dear.\n"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is no checkout, where the package of SmolLM2 is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("msm_ray.models.smollm2_file", lambda: Path("weights.gguf"))
    (tmp_path / "mine.md").write_text(MINE, encoding="utf-8")
    return tmp_path


def found(experiment: Path) -> list[Finding]:
    return preflight.check(preflight.Proposal(read_experiment(experiment)))


def test_what_is_begun_without_a_word_has_nothing_in_its_way(elsewhere: Path) -> None:
    experiment, *files = starting.begin(Path("mended"), Wishes())
    assert found(experiment) == []
    settings = load_experiment(experiment)
    assert {settings.documents.engine, settings.base.source, settings.root} == {"offline", "smollm2", "runs/mended"}
    assert [path.name for path in files] == [
        "spec.md",
        "likings.yaml",
        "pairs.jsonl",
        "ordinary.jsonl",
        "questions.txt",
    ]
    assert {t.arm for t in unfold(settings).trained} == {"mine/base", "mine/aft", "mine/msm", "mine/msm+aft"}


@pytest.mark.parametrize("spec", [None, Path("mine.md")])
@pytest.mark.parametrize("base", ["smollm2", "Qwen/Qwen3-8B"])
@pytest.mark.parametrize("writer", [("offline", None), ("Qwen/Qwen3-32B", None), ("http://127.0.0.1:9/v1", "m")])
def test_every_wish_gives_settings_that_can_be(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, spec: Path | None, base: str, writer: tuple[str, str | None]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # a cluster, which may have the GPUs that this machine lacks
    experiment = starting.begin(Path("x"), Wishes(spec, base, *writer))[0]
    settings = load_experiment(experiment)
    wrong = [finding.line_of_text() for finding in found(experiment) if finding.severity == "error"]
    if base == "smollm2" and writer[0].startswith("Qwen"):  # a large writer asks this machine for memory
        wrong = [line for line in wrong if "cluster.generation" not in line]
    assert wrong == []
    assert settings.base.source == base
    assert settings.specs == {"mine": str(spec or "x/spec.md")}
    assert settings.documents.model == (writer[1] or (None if writer[0] == "offline" else writer[0]))
    assert settings.assistant.name == ("SmolLM" if base == "smollm2" else "Qwen")


def test_every_section_says_what_it_is_for(elsewhere: Path) -> None:
    for spec in (None, Path("mine.md")):
        text = starting.begin(Path(f"with-{spec}"), Wishes(spec))[0].read_text(encoding="utf-8")
        lines = text.splitlines()
        silent = [
            line for before, line in zip(lines, lines[1:], strict=False) if re.match(r"\w", line) and before[:1] != "#"
        ]
        assert silent == []
        assert not re.search(r"\{[{%]", text)


@pytest.mark.parametrize("name", ["a folder", "Käse #1", "mine: yes", "[final]", "deep/in/here", "'quoted'"])
def test_a_folder_may_have_any_name(elsewhere: Path, name: str) -> None:
    experiment = starting.begin(Path(name), Wishes())[0]
    assert found(experiment) == []
    assert load_experiment(experiment).specs["mine"] == f"{name}/spec.md"


def test_what_is_there_is_never_touched(elsewhere: Path) -> None:
    (elsewhere / "full").mkdir()
    (elsewhere / "full/notes.txt").write_text("mine")
    for taken in ("full", "mine.md", "full/notes.txt"):
        with pytest.raises(SettingsError, match=f"^{taken}: is there"):
            starting.begin(Path(taken), Wishes())
    assert [path.name for path in (elsewhere / "full").iterdir()] == ["notes.txt"]
    (elsewhere / "empty").mkdir()
    starting.begin(Path("empty"), Wishes(Path("mine.md")))
    assert (elsewhere / "mine.md").read_text(encoding="utf-8") == MINE
    assert not (elsewhere / "empty/spec.md").exists()
    with pytest.raises(PreflightError, match="cannot write there"):
        starting.begin(Path("mine.md/below"), Wishes())


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        (Wishes(Path("nowhere.md")), "nowhere.md"),
        (Wishes(base="tinyworld:base-seed0"), "copy jobs/quickstart.yaml"),
        (Wishes(writer="https://host/v1"), "--writer-model"),
        (Wishes(writer_model="m"), "--writer offline: --writer-model is for an endpoint"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(elsewhere: Path, wishes: Wishes, named: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(named)):
        starting.begin(Path("new"), wishes)
    assert not (elsewhere / "new").exists()


def test_there_are_ideas_enough_for_a_spec_with_few_sections(elsewhere: Path) -> None:
    settings = load_experiment(starting.begin(Path("x"), Wishes(Path("mine.md"), "Qwen/Qwen3-8B"))[0])
    assert settings.documents.ideas * settings.documents.types >= settings.documents.documents


def test_a_choice_of_the_examples_pairs_is_read_as_it_is_meant(elsewhere: Path) -> None:
    *_, pairs = [path for path in starting.begin(Path("x"), Wishes()) if path.name == "pairs.jsonl"]
    for pair in map(json.loads, pairs.read_text(encoding="utf-8").splitlines()):
        item = {"world": "plain", "a": pair["aligned"], "b": pair["other"], "aligned": "a"}
        for said in ("aligned", "other"):
            assert judge_preference(item, f"I'd take {pair[said]}.").verdict is (said == "aligned"), pair


def test_the_command_tells_what_it_wrote_what_is_in_the_way_and_what_comes_next(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = msm(monkeypatch, capsys, "init", "a folder")
    assert code == 0
    assert "a folder/spec.md: the spec: write yours over this example" in printed
    assert "plan: 30 stages to make\n" in printed
    assert printed.endswith("next: msm plan 'a folder/experiment.yaml', then msm run 'a folder/experiment.yaml'\n")
    code, printed = msm(monkeypatch, capsys, "init", "a folder")
    assert code == 2 and "a folder: is there and not empty" in printed
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, printed = msm(monkeypatch, capsys, "init", "b", "--writer", "https://host/v1", "--writer-model", "m")
    assert code == 0  # what it wrote is sound; what lacks is said before the command that needs it
    assert printed.index("OPENAI_API_KEY is not set") < printed.index("next:")
    code, printed = msm(monkeypatch, capsys, "init", "c", "--spec", "mine.md", "--base", "no/such/base/here")
    assert code == 2 and "next:" in printed
