"""Documents that go further: what is there stays, a corpus that takes as many as before is what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from msm_ray.config.file import load_experiment
from msm_ray.graph import planning, running
from msm_ray.graph.heads import places
from msm_ray.graph.running import Wishes, Workplace
from msm_ray.graph.store import ArtifactStore
from msm_ray.pipeline import Experiment, unfold
from msm_ray.placement.settings import ClusterSettings
from msm_ray.runner import _writing
from msm_ray.stages.machine import Machine
from msm_ray.tracking import ExperimentRun

pytestmark = pytest.mark.real


def experiment(root: Path, documents: int, *more: str) -> Experiment:
    """The quickstart's documents by the writer that needs no model."""
    changes = [f"root={root}", "documents.engine=offline", f"documents.documents={documents}", "corpora={}", *more]
    return unfold(load_experiment("jobs/quickstart.yaml", changes))


def run(made: Experiment, root: Path, **wishes: Any) -> list[str]:
    """Up to the corpora, on the cluster that is there."""
    machine = Machine(root, ClusterSettings(), ExperimentRun(made.settings, root), writing=_writing(made))

    @contextmanager
    def opened() -> Iterator[Any]:
        yield machine, lambda artifact, there: None

    place = Workplace("further", root / "logs", lambda todo, reporter: None, opened)
    return running.run(made.graph, ArtifactStore(root), Wishes(until="corpus", **wishes), place)


def digests(folder: Path) -> dict[str, str]:
    """Of every shard."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.parquet")
    }


def test_documents_go_further_in_place_and_are_what_they_would_have_been_at_once(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    root, whole = tmp_path / "root", tmp_path / "whole"
    run(experiment(root, 300), root)
    first = places(root / "documents/endings@1")
    corpus = digests(root / "corpus/endings@1")
    made = run(experiment(root, 600, "documents.attempts=5"), root, new_version=True)
    assert sorted(made) == [f"{kind}/{name}" for kind in ("corpus", "documents") for name in sorted(made_specs(made))]
    assert not list((root / "documents").glob("*@2"))  # the same artifact, longer
    assert places(root / "documents/endings@1")[: len(first)] == first
    assert len(places(root / "documents/endings@1")) == 600
    run(experiment(whole, 600), whole)
    assert digests(root / "documents/endings@1") == digests(whole / "documents/endings@1")
    assert digests(root / "corpus/endings@2") == digests(whole / "corpus/endings@1")
    # Back to the first cap: nothing is deleted and nothing is made, the first corpus is still what it was made from.
    back = experiment(root, 300)
    states = {p.node.key: p.found.state for p in planning.plan(back.graph, ArtifactStore(root))}
    assert {states[key] for key in made} == {"present"}
    assert run(back, root) == []
    assert digests(root / "corpus/endings@1") == corpus


def made_specs(made: list[str]) -> set[str]:
    """The specs of some keys."""
    return {key.partition("/")[2] for key in made}
