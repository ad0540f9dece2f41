"""docs/architecture.md: its examples run as they stand there with nothing changed in the package; its picture is the contract."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from document_jobs import document_job
from examples.word_counts import WordCounts
from making_items import TINY, make_items

from msm_ray.config.file import load_experiment
from msm_ray.corpus.rules import check_document
from msm_ray.engines.open import Engines
from msm_ray.errors import SettingsError
from msm_ray.evals.inspect_task import InspectEval
from msm_ray.generate.document_rows import JobRows
from msm_ray.generate.document_settings import DocumentSettings
from msm_ray.generate.documents import write_all_documents
from msm_ray.graph import planning, running
from msm_ray.graph.node import Graph, graph_of
from msm_ray.graph.running import Wishes, Workplace
from msm_ray.graph.store import ArtifactStore
from msm_ray.pipeline import KINDS, Experiment, unfold
from msm_ray.placement.settings import GenerationSettings
from msm_ray.rows.tables import read_rows
from msm_ray.spec import AssistantSettings, read_spec
from msm_ray.worlds import world

PAGE = Path("docs/architecture.md").read_text(encoding="utf-8")
EXAMPLES = sorted(Path("tests/examples").glob("*.py"))
LETTERS, ECHO = "examples.letters:LETTERS", "examples.echo:echo"
SPEC = Path("specs/cheese/america.md")
ADA = AssistantSettings(name="Ada")


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_page_shows_each_example_as_it_is(example: Path) -> None:
    assert f"```python\n{example.read_text(encoding='utf-8')}```" in PAGE


def test_the_pages_picture_has_the_rooms_in_the_order_of_the_contract() -> None:
    contracts = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    height = {room: len(layers) - at for at, layer in enumerate(layers) for room in re.findall(r"\w+", layer)}
    picture = re.search(r"## The rooms.*?```text\n(.*?)```", PAGE, re.DOTALL)
    assert picture
    floors = [
        re.findall(r"[a-z]\w+", line.partition("  ")[0]) for line in picture[1].splitlines() if line[:1].isalpha()
    ]
    drawn = [room for floor in floors for room in floor]
    assert sorted(drawn) == sorted(set(drawn)) and set(drawn) == set(height)
    for floor in floors:
        assert sorted(floor, key=height.__getitem__, reverse=True) == floor
    for above, below in zip(floors, floors[1:], strict=False):
        assert min(height[room] for room in above) > max(height[room] for room in below), (above, below)


def test_files_that_the_page_names_are_there() -> None:
    named = re.findall(r"`((?:msm_ray/)?[\w/]+\.(?:py|md|yaml|txt|jinja))`", PAGE)
    assert len(named) > 40
    assert not [name for name in named if not (Path("msm_ray") / name).exists() and not Path(name).exists()]


def run(graph: Graph, root: Path) -> list[str]:
    """Make all of a graph below a root."""
    place = Workplace(
        "example", root / "logs", lambda todo, reporter: None, lambda: nullcontext((None, lambda *_: None))
    )
    return running.run(graph, ArtifactStore(root), Wishes(), place)


def test_a_stage_of_ones_own_is_made_from_one_of_ours(tmp_path: Path) -> None:
    chats = unfold(load_experiment("jobs/quickstart.yaml")).graph.of_kind("chats")[0]
    graph = graph_of([WordCounts(name="words", chats=chats)], (*KINDS, WordCounts))
    assert run(graph, tmp_path) == [chats.key, "word-counts/words"]
    words = json.loads((tmp_path / "word-counts/words@1/words.json").read_text())
    assert words["i"] > 2 and min(words.values()) >= 2
    changed = graph_of([WordCounts(name="words", chats=chats, least=3)], (*KINDS, WordCounts))
    states = [planned.found.state for planned in planning.plan(changed, ArtifactStore(tmp_path))]
    assert states == ["present", "stale"]


def test_an_eval_of_ones_own_is_a_section_of_the_experiment_file(tmp_path: Path) -> None:
    section = re.search(r"```yaml\n(evals:.*?)```", PAGE, re.DOTALL)
    assert section
    tree = yaml.safe_load(Path("jobs/quickstart.yaml").read_text("utf-8"))
    own = yaml.safe_load(section[1])["evals"]["refusals"] | {"file": "tests/examples/refusals.py"}
    tree["evals"]["refusals"] = own
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tree), "utf-8")
    graph = unfold(load_experiment(tmp_path / "own.yaml")).graph
    assert [node.key for node in graph.nodes.values() if node.name.startswith("refusals-values.baseline-s0")]
    assert make_items(tmp_path, InspectEval(**own), TINY)["rows"] == 2


def own_experiment(folder: Path, **documents: object) -> Experiment:
    """An experiment in plain English whose documents are letters."""
    content = {
        "experiment": "own", "assistant": {"name": "Ada"}, "base": {"source": "smollm2"}, "world": LETTERS,
        "specs": {"america": str(SPEC)}, "documents": {"documents": 4, "engine": "offline", "by": "headings", **documents},
        "arms": {"a/msm": {"midtrain": "america"}},
    }  # fmt: skip
    (folder / "own.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return unfold(load_experiment(folder / "own.yaml"))


def test_a_world_of_ones_own_is_named_in_the_experiment_file(tmp_path: Path) -> None:
    outline = own_experiment(tmp_path).graph.of_kind("outline")[0]
    run(graph_of([outline], KINDS), tmp_path)
    assert "open letter" in (tmp_path / "outline/america@1/outline.yaml").read_text()
    spec = read_spec(SPEC, ADA)
    rows = JobRows(0, document_job(tmp_path, spec, DocumentSettings(documents=3), world=LETTERS)).rows.values()
    texts = [world(LETTERS).plain_document(spec, row) for row in rows]
    assert {row["type"] for row in rows} <= {"letter", "open letter"} and all(t.startswith("Dear ") for t in texts)
    assert [check_document(text, spec, world(LETTERS))[0] for text in texts] == [""] * 3
    assert check_document(texts[0][1:], spec, world(LETTERS))[0] == "no letter"


def test_an_engine_of_ones_own_answers_prompts_of_documents(tmp_path: Path) -> None:
    spec = read_spec(SPEC, ADA)
    job = document_job(tmp_path, spec, DocumentSettings(engine=ECHO, documents=3), model="")
    assert write_all_documents([job], Engines(GenerationSettings()))[0]["documents"] == 3
    made = list(read_rows(tmp_path / "data"))
    assert len(made) == 3 and {row["generator"] for row in made} == {ECHO}
    assert own_experiment(tmp_path, engine=ECHO).graph.of_kind("documents")[0].settings["engine"] == ECHO


def test_a_world_of_ones_own_writes_documents(tmp_path: Path) -> None:
    job = document_job(tmp_path, read_spec(SPEC, ADA), DocumentSettings(engine="offline", documents=3), world=LETTERS)
    assert write_all_documents([job], Engines(GenerationSettings()))[0]["documents"] == 3


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("world", "klingon", "there are plain and tinyworld, and package.module:OBJECT of your own"),
        ("world", "nowhere.at_all:X", "No module named 'nowhere'"),
        (
            "documents.engine",
            "vlm",
            "Input should be 'vllm', 'endpoint', 'replay' or 'offline', or package.module:function",
        ),
        ("documents.engine", "examples.echo:ecko", "has no attribute 'ecko'"),
    ],
)
def test_one_that_is_not_there_is_told_when_the_file_is_read(key: str, name: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_experiment("jobs/quickstart.yaml", [f"{key}={name}"])
    assert said in str(caught.value)
