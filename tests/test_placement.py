"""What stages ask of a cluster: bundles for 1, 4 and 8 GPUs, what fits on which nodes, and how long room is waited for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from msm_ray.config.file import load_experiment
from msm_ray.errors import PreflightError, SettingsError
from msm_ray.placement import (
    Node,
    engine_bundles,
    generation,
    placements,
    rank_bundle,
    serving,
    short_here,
    shortfall,
    training,
)
from msm_ray.placement.settings import ClusterSettings, GenerationSettings, ServeSettings, WorkerSettings

VLLM = "vllm"
H200 = {"CPU": 192, "GPU": 8, "accelerator_type:H200": 1}
A100 = {"CPU": 96, "GPU": 8, "accelerator_type:A100": 1}


@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_an_engine_asks_for_one_bundle_a_gpu_and_for_its_cpus_once(gpus: int) -> None:
    bundles = engine_bundles(WorkerSettings(cpus=10, gpus=gpus, tensor_parallel=gpus))
    assert [bundle["GPU"] for bundle in bundles] == [1] * gpus
    assert sum(bundle.get("CPU", 0) for bundle in bundles) == 10
    assert bundles[0]["CPU"] >= 1


def test_eight_gpus_with_fewer_cpus_leave_one_for_the_engines_own_process() -> None:
    bundles = engine_bundles(WorkerSettings(cpus=0.5, gpus=8, tensor_parallel=8))
    assert bundles == [{"CPU": 1, "GPU": 1}, *[{"GPU": 1}] * 7]


def test_on_cpus_an_engine_is_one_bundle() -> None:
    assert engine_bundles(WorkerSettings(cpus=3)) == [{"CPU": 3}]


@pytest.mark.real
@pytest.mark.parametrize(("workers", "gpus"), [(1, 1), (2, 4), (1, 8)])
def test_ray_serve_is_told_what_is_asked_for(ray_cluster: None, workers: int, gpus: int) -> None:
    """The placement that is waited for goes into the engine that serves, and Ray's own code makes no more of it."""
    from ray.llm._internal.serve.core.server.llm_server import LLMServer

    from msm_ray.serve.app import _llm_config
    from msm_ray.serve.arms import Arm

    how = ServeSettings(workers=workers, cpus=8, gpus=gpus, tensor_parallel=gpus, accelerator="H200")
    asked = list(serving(how).bundles)
    options = LLMServer.get_deployment_options(_llm_config([Arm("tiny", "folder", "base")], how))
    assert [_given(bundle) for bundle in options["placement_group_bundles"]] == asked
    assert options["placement_group_strategy"] == "STRICT_PACK"


def _given(bundle: dict[str, float]) -> dict[str, float]:
    return {kind: much for kind, much in bundle.items() if much}


def test_a_stage_asks_for_its_kind_of_gpu_else_for_the_clusters() -> None:
    cluster = ClusterSettings(
        accelerator="H200",
        gpu_memory_gib=140,
        generation=GenerationSettings(gpus=1, accelerator="A100", gpu_memory_gib=39),
        training=WorkerSettings(workers=4, gpus=1),
    )
    assert rank_bundle(cluster.training)["accelerator_type:H200"] == 0.001
    assert "accelerator_type:A100" in engine_bundles(cluster.generation)[0]
    assert (cluster.training.gpu_memory_gib, cluster.generation.gpu_memory_gib) == (140, 39)
    assert cluster.serving.accelerator is None  # it takes no GPU
    assert "rank" in shortfall(training(cluster.training), [Node(A100, 2), Node({"CPU": 64})])
    assert not shortfall(training(cluster.training), [Node(A100), Node(H200)])


def test_two_engines_of_four_gpus_do_not_fit_on_nodes_of_three() -> None:
    asked = generation(GenerationSettings(workers=2, cpus=4, gpus=4, tensor_parallel=4), [VLLM])
    assert "room for 0" in shortfall(asked, [Node({"CPU": 32, "GPU": 3}, 3)])
    assert "room for 1" in shortfall(asked, [Node({"CPU": 32, "GPU": 4}), Node({"CPU": 32, "GPU": 2}, 2)])
    assert "8 GPUs" in shortfall(asked, [Node({"CPU": 32, "GPU": 4})])
    assert not shortfall(asked, [Node({"CPU": 32, "GPU": 8})])


def test_every_logical_cpu_is_counted() -> None:
    """Serving 4 GPUs with 8 CPUs asked for 30.5 and counted 9: the engine's share on every GPU, the face, the asker."""
    asked = serving(ServeSettings(cpus=8, gpus=4, tensor_parallel=4))
    assert asked.total == {"CPU": 8 + 1 + 0.5, "GPU": 4}
    assert "9.5 logical CPUs" in shortfall(asked, [Node({"CPU": 9, "GPU": 4})])


def test_a_writer_that_is_no_engine_takes_no_gpu() -> None:
    workers = GenerationSettings(workers=3, cpus=2, gpus=1)
    assert "GPU" not in generation(workers, ["offline"]).total
    assert "GPU" not in generation(workers, ["endpoint"]).total
    assert generation(workers, ["offline", VLLM]).total["GPU"] == 3


def test_only_what_is_to_be_made_is_asked_for() -> None:
    settings = load_experiment("tests/jobs/agentic-own-data.yaml")
    assert [one.stage for one in placements(settings, {"documents", "corpus"})] == ["generation"]
    assert [one.stage for one in placements(settings, {"sft", "rollouts", "report"})] == ["training", "serving"]
    assert placements(settings, {"report"}) == []


@pytest.mark.parametrize("job", ["agentic-qwen3-32b", "values-llama3-8b"])
def test_the_paper_jobs_fit_the_aws_cluster_and_not_its_spot_cards(job: str) -> None:
    types = yaml.safe_load(Path("clusters/aws.yaml").read_text(encoding="utf-8"))["available_node_types"]
    nodes = {name: Node(kind["resources"], max(kind["max_workers"], name == "head")) for name, kind in types.items()}
    settings = load_experiment(f"jobs/{job}.yaml")
    asked = placements(settings, {"documents", "sft", "rollouts"})
    assert [shortfall(one, list(nodes.values())) for one in asked] == [""] * 3
    assert shortfall(asked[1], [nodes["head"], nodes["spot_gpu"]])
    assert settings.cluster.nodes_max


def test_a_machine_without_gpus_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = load_experiment("tests/jobs/agentic-own-data.yaml")
    problems = short_here(settings.cluster, placements(settings, {"documents", "sft"}))
    assert (
        "generation needs 8 GPUs (2 engines of 4 GPUs of kind H200 and 8 logical CPUs on one node), there are 0"
        in problems[0]
    )
    assert "training needs 4 GPUs" in problems[1]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("cluster.serving={gpus: 1, tensor_parallel: 4}", "set gpus: 4"),
        ("cluster.generation={tensor_parallel: 2}", "tensor_parallel: 1 on CPUs"),
        ("cluster.training={gpus: 2, tensor_parallel: 2}", "a rank of a training has one GPU"),
        ("cluster.accelerator=h200", "its names are"),
    ],
)
def test_impossible_workers_are_settings_errors(override: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_experiment("jobs/quickstart.yaml", [override])


@pytest.mark.real
def test_room_that_others_hold_is_waited_for_and_then_told(
    ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray.util import placement_group, remove_placement_group

    from msm_ray.placement.room import check_room, wait_for_room

    asked = training(WorkerSettings(workers=2, cpus=2, placement_minutes=0.02))
    held = placement_group([{"CPU": 7}])
    assert held.wait(20)
    try:
        with pytest.raises(
            PreflightError, match=r"no room after 0.02 minutes: training asks for 2 ranks .*7 of 8 CPUs taken"
        ):
            wait_for_room(asked)
    finally:
        remove_placement_group(held)
    began = time.monotonic()
    wait_for_room(training(WorkerSettings(workers=2, cpus=2)))
    assert time.monotonic() - began < 5
    crowd = [training(WorkerSettings(workers=9))]
    with pytest.raises(PreflightError, match="too small: training needs 9 logical CPUs"):
        check_room(crowd, nodes_max=1)
    check_room(crowd, nodes_max=2)  # an autoscaler may still add a node


@pytest.mark.real
def test_kinds_of_nodes_that_an_autoscaler_knows_of_count(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.state import state
    from ray.core.generated import autoscaler_pb2

    from msm_ray.placement.room import check_room

    known = autoscaler_pb2.ClusterConfig()
    known.node_group_configs.add(resources={"CPU": 16}, max_count=2)
    monkeypatch.setattr(state, "get_cluster_config", lambda: known)
    check_room([training(WorkerSettings(workers=30))], None)
    with pytest.raises(PreflightError, match="2 x 16 CPUs"):
        check_room([training(WorkerSettings(workers=2, cpus=17))], None)
