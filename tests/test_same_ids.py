"""The data stages from every source give the same ids under other batches and pools, after kills, by few hands and by many.

Sources: recordings; a slow address that fails now and then, and says what the recordings say; the tiny world. What must come out
is what one run of recordings, and one of the tiny world, gave that nobody disturbed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml
from data_stages import Run, Way, asked_and_settled, left_by
from endpoint_server import EndpointServer, endpoint
from hub_tokenizers import family_tokenizer
from recorded_endpoint import CALLS, Writer, recorded

pytestmark = pytest.mark.real

FEW = Way(batch_size=4, in_flight=1, workers=1, at_size=20_000)
MANY = Way(batch_size=2, in_flight=2, workers=3, at_size=0)
"""Other batches, another pool, and documents by Ray's workers."""
Kills = Sequence[tuple[str, int]]
"""The requests at which a run is killed: the call, and the number of its requests in this life."""
TRAINED = {"mode": "full", "sequence_length": 4096, "precision": "fp32", "least_steps": 1, "batch": 1}
REQUEST_SECONDS = 20
UNDISTURBED = "undisturbed"
BASE = Path(str(resources.files("msm_ray.tinyworld"))) / "base"


# Experiments -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """The method on shipped specs, and what comes of it undisturbed. folder: where its files and roots are."""

    folder: Path
    specs: tuple[str, ...]
    rows: list[dict[str, Any]]

    def by(self, **writer: Any) -> Path:
        """The experiment file with a writer."""
        said = yaml.safe_load(Path("jobs/recorded.yaml").read_text("utf-8"))
        own = {
            "base": {"source": str(self.folder / "base")},
            "specs": {name: str(Path(said["specs"][name]).resolve()) for name in self.specs},
            "chats": {name: chats(said["chats"][name]) for name in (f"{spec}-cot" for spec in self.specs)},
            "arms": {f"all/{name}": {"midtrain": name, "sft": f"{name}-cot"} for name in self.specs},
            "midtraining": TRAINED,
            "aft": TRAINED,
            "writer": writer,
        }
        return written(self.folder / f"{writer['engine']}.yaml", said | own)

    def root(self, path: Path) -> Path:
        """A root in which the base is there already: it comes of no writer."""
        copytree(self.folder / UNDISTURBED / "base", path / "base")
        return path

    def from_recordings(self) -> Path:
        """The experiment file whose writer is a file of recordings."""
        path = self.folder / "recorded.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")
        return self.by(engine="replay", replay=str(path))

    def from_address(self, server: EndpointServer) -> Path:
        """The one whose writer is behind an address."""
        return self.by(
            engine="endpoint", model="m", url=server.address, key_variable="TEST_KEY", request_seconds=REQUEST_SECONDS
        )


def chats(said: dict[str, Any]) -> dict[str, Any]:
    """A set of chats whose questions are compared by their words, as no model has to be loaded for that."""
    return said | {"written": said["written"] | {"embedder": "scripted_writer:by_words"}}


def written(path: Path, experiment: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(experiment, sort_keys=False), "utf-8")
    return path


def method_in(folder: Path, *specs: str) -> Method:
    """The base's tokenizer knows every text; its weights are never used."""
    copytree(BASE, folder / "base")
    config = json.loads((BASE / "config.json").read_text("utf-8"))
    (folder / "base" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}), "utf-8")
    family_tokenizer("qwen3").save_pretrained(folder / "base")
    return Method(folder, specs, recorded(specs))


def tiny(path: Path, documents: int, engine: str = "offline") -> Path:
    """The quickstart's data for one arm, by the writer that always writes the same, or by the tiny base, which samples."""
    said = yaml.safe_load(Path("jobs/quickstart.yaml").read_text("utf-8"))
    gone = ("evals", "report", "groups", "corpora")
    own = {
        "specs": {"affordability": str(Path(said["specs"]["affordability"]).resolve())},
        "documents": said["documents"] | {"documents": documents, "engine": engine},
        "chats": {
            "cheese": said["chats"]["cheese"] | {"count": 200},
            "ordinary": said["chats"]["ordinary"] | {"count": 400},
        },
        "arms": {"values/a": {"midtrain": "affordability", "sft": "cheese"}},
        "midtraining": said["midtraining"] | {"most_epochs": 1000},
        "aft": said["aft"] | {"most_epochs": 1000},
    }
    return written(path, {name: value for name, value in said.items() if name not in gone} | own)


@pytest.fixture(scope="module")
def america(tmp_path_factory: pytest.TempPathFactory) -> Method:
    return method_in(tmp_path_factory.mktemp("america"), "america")


@pytest.fixture(scope="module")
def of_recordings(america: Method) -> dict[str, Any]:
    """What recordings give in a run that nobody disturbs."""
    return undisturbed(america.from_recordings(), america.folder / UNDISTURBED)


def undisturbed(file: Path, root: Path) -> dict[str, Any]:
    Run(file, root, FEW).finish()
    return left_by(root)


# In a minute -----------------------------------------------------------------------------------------------------------


def test_recordings_killed_again_and_again(america: Method, of_recordings: dict[str, Any], tmp_path: Path) -> None:
    kinds = {name.partition("/")[0] for name in of_recordings}
    assert kinds == {"outline", "documents", "corpus", "written-chats", "chats", "blocks"}
    assert all(of_recordings.values())
    run = Run(america.from_recordings(), america.root(tmp_path / "root"), MANY)
    assert run.finish_in_lives_of(28) >= 3
    assert left_by(run.root) == of_recordings


def test_the_tiny_world_by_workers_that_are_killed(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    expected = undisturbed(tiny(tmp_path / "tiny.yaml", 700), few)
    run = Run(tmp_path / "tiny.yaml", many, MANY)
    run.killed_when(lambda: any(many.glob("documents/*/data/*.parquet")))
    run.finish()
    assert left_by(many) == expected and len(expected["documents/affordability"][0]) > 600


def test_a_slow_address_that_fails_says_what_recordings_say(
    america: Method, of_recordings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By few hands, and with a kill in every call: below, for as long as it takes."""
    monkeypatch.setenv("TEST_KEY", "any")
    check_an_address(america, MANY, [("documents", 12)], tmp_path / "root", of_recordings)


def check_an_address(
    method: Method,
    way: Way,
    kills: Kills,
    root: Path,
    expected: dict[str, Any],
    *,
    all_of_it: bool = True,
    hangs: float = 0.0,
) -> None:
    """What comes of it is what recordings give, and nothing is asked for again once its answer is there."""
    writer = Writer(method.rows, hangs)
    with endpoint(writer, seconds=0.05) as server:
        run = Run(method.from_address(server), method.root(root), way)
        for call, many in kills:
            writer.asked.clear()
            run.killed_when(lambda call=call, many=many: writer.asked[call] >= many, all_of_it)  # type: ignore[misc]
        run.finish()
    assert left_by(root) == expected
    assert writer.unknown == []
    assert writer.given_in_vain <= len(kills) * way.rows_at_once


# For as long as it takes ------------------------------------------------------------------------------------------------


def soak(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.soak(pytest.mark.timeout(3600)(test))


@pytest.fixture(scope="module")
def all_specs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Method, dict[str, Any]]:
    """The method on all recorded specs, and what recordings give in a run that nobody disturbs."""
    method = method_in(tmp_path_factory.mktemp("all"), "affordability", "america", "endings")
    return method, undisturbed(method.from_recordings(), method.folder / UNDISTURBED)


@soak
@pytest.mark.parametrize("files", [17, 23, 31])
def test_recordings_killed_at_every_few_files(files: int, all_specs: Any, tmp_path: Path) -> None:
    """Not many fewer: stages of a kind are begun together, a file each, and a corpus is made as a whole."""
    method, expected = all_specs
    run = Run(method.from_recordings(), method.root(tmp_path / "root"), FEW if files == 23 else MANY)
    assert run.finish_in_lives_of(files) > 3
    assert left_by(run.root) == expected


@soak
@pytest.mark.parametrize("all_of_it", [True, False], ids=["with all below it", "alone"])
@pytest.mark.parametrize("way", [FEW, MANY], ids=["by few", "by many"])
def test_an_address_and_a_kill_in_every_call(
    way: Way, all_of_it: bool, all_specs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "any")
    method, expected = all_specs
    kills = [(call, 1 if call in ("domains", "chat_domains") else 9) for call in CALLS]
    hangs = REQUEST_SECONDS + 2.0
    check_an_address(method, way, kills, tmp_path / "root", expected, all_of_it=all_of_it, hangs=hangs)


POOLS = [
    Way(batch_size=32, in_flight=4, workers=1, at_size=20_000),
    Way(batch_size=8, in_flight=2, workers=2, at_size=0),
    Way(batch_size=8, in_flight=2, workers=1, at_size=0),
]


@soak
def test_the_tiny_base_writes_for_the_same_ids(tmp_path: Path) -> None:
    """Its texts are sampled: what was asked for and settled is the same, once each."""
    found = []
    for number, way in enumerate(POOLS):
        root = tmp_path / f"root-{number}"
        run = Run(tiny(tmp_path / "tiny.yaml", 600, "vllm"), root, way)
        run.killed_when(lambda root=root: any(root.glob("documents/*/*/*part-*")))  # type: ignore[misc]
        run.finish()
        found.append(asked_and_settled(root))
        chats, outline = (left_by(root)[name] for name in ("chats/cheese", "outline/affordability"))
        found[-1] |= {"chats": chats, "outline": outline}
    assert found[0] == found[1] == found[2]
    assert len(set(found[0]["affordability"])) == len(found[0]["affordability"]) == 600
