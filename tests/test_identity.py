"""Which stages a change of an experiment file makes others: exactly those that hold what was changed."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from msm_ray.config.file import load_experiment
from msm_ray.graph.node import EXTENT, Node
from msm_ray.pipeline import KINDS, unfold
from msm_ray.settings_base import Where

CHANGES: dict[str, set[str]] = {
    "documents.sampling.temperature=0.5": {"documents"},
    "documents.ask=chat": {"documents"},
    "documents.types=5": {"outline"},
    "documents.ideas=99": {"outline"},
    "documents.documents=2990": {"corpus", "replay"},  # base text is as much as goes with the largest corpus
    "checks.near_duplicates=0.9": {"corpus"},
    "checks.least_words=9": {"corpus"},
    "assistant.provider=nobody": {
        "outline",
        "documents",
        "corpus",
        "chats",
        "report",
    },  # the tiny world's items name none
    "chats.cheese.seed=5": {"chats"},
    "chats.cheese.count=399": {"chats"},
    "midtraining.learning_rate=1e-5": {"midtrain"},
    "midtraining.mix=0.3": {"replay", "blocks"},
    "midtraining.sequence_length=64": {"blocks", "midtrain"},
    "aft.weight_decay=0.5": {"sft"},
    "aft.trained_on=all": {"blocks"},
    "base.separator=<s>": {"blocks"},
    "evals.america.pairs=11": {"items", "report"},
    "evals.america.temperature=0.3": {"rollouts", "report"},
    "evals.agentic.rollouts=5": {"items", "report"},
    "report.question=why": {"report"},
    # Where and how fast, and what is refused.
    "documents.attempts=9": set(),
    "documents.url=http://elsewhere/v1": set(),
    "documents.key_variable=MY_KEY": set(),
    "documents.batch_size=7": set(),
    "documents.least_share=0.9": set(),
    "documents.most_refused=0.5": set(),
    "checks.most_near_duplicates=0.9": set(),
    "checks.least_distinct=0.9": set(),
    "midtraining.zero_stage=3": set(),
    "midtraining.micro_batch=1": set(),
    "midtraining.checkpoint_every=7": set(),
    "midtraining.least_steps=3": set(),
    "aft.log_every=1": set(),
    "cluster.training.workers=7": set(),
    "cluster.serving.port=8123": set(),
    "tracking.project=elsewhere": set(),
    "midtraining.lora.r=3": set(),  # every weight is trained there: no adapter
}
"""A change of the quickstart -> the kinds of stages some of which are others then by their own settings, not by their inputs."""


def settings_of(*changes: str) -> dict[str, dict[str, Any]]:
    """Key of each stage of the quickstart -> what it is."""
    return {
        k: n.settings
        for k, n in unfold(load_experiment("jobs/quickstart.yaml", ["root=r", *changes])).graph.nodes.items()
    }


@pytest.fixture(scope="module")
def plain() -> dict[str, dict[str, Any]]:
    return settings_of()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_exactly_those_stages_others_that_hold_it(change: str, plain: dict[str, dict[str, Any]]) -> None:
    now = settings_of(change)
    assert now.keys() == plain.keys()
    assert {key.partition("/")[0] for key in now if now[key] != plain[key]} == CHANGES[change]


def other(value: Any) -> Any:
    """A value that is another; None where this test knows none."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case "tinyworld":
            return "plain"
        case str():
            return value + "x"
        case None:
            return "x"
        case tuple() | list():
            return (*value, "x")
        case dict():
            return {**value, "x": "x"}
    return None


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # values of other types are tried
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_of_a_stage_is_part_of_what_it_is(kind: type[Node]) -> None:
    """Whoever adds a field need not remember anything; and no settings class that only says where has come in."""
    given = "arms.values/given.checkpoint=lab/adapter"
    quickstart = unfold(load_experiment("jobs/quickstart.yaml", ["root=r", given])).graph
    by_models = unfold(load_experiment("tests/jobs/made-by-models.yaml", ["root=r"])).graph
    (node, *_) = [*quickstart.of_kind(kind.kind), *by_models.of_kind(kind.kind)]
    tried = 0
    for one in fields(node):
        value = vars(node)[one.name]
        assert not isinstance(value, Where), f"{kind.kind}.{one.name} only says where or how fast"
        if one.name == "name" or EXTENT in one.metadata or isinstance(value, Node):
            assert replace(node, name="other").settings == node.settings
            continue
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                changed = value.model_copy(update={name: other(getattr(value, name))})
                if getattr(changed, name) is not None:
                    assert replace(node, **{one.name: changed}).settings != node.settings, f"{one.name}.{name}"
                    tried += 1
        elif not is_dataclass(value) and not (isinstance(value, tuple) and value and isinstance(value[0], Node)):
            assert replace(node, **{one.name: other(value)}).settings != node.settings, one.name
            tried += 1
    assert tried or kind.kind == "base"


def test_a_spec_that_reads_the_same_under_another_provider_is_another(tmp_path: Path) -> None:
    """The outline comes out the same, and documents were asked for by another prompt."""
    before, after = settings_of(), settings_of("assistant.provider=nobody")
    assert before["documents/endings"]["spec"]["digest"] == after["documents/endings"]["spec"]["digest"]
    assert before["documents/endings"] != after["documents/endings"]
