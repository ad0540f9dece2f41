"""The cluster files are ones that Ray's own validation accepts, and their GPU nodes are what the job files ask for."""

from pathlib import Path

import pytest
import yaml

FILES = sorted(Path("clusters").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_ray_accepts_the_cluster_file(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    validate_config(prepare_config(config))


def test_ray_refuses_a_misspelt_key() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(Path("clusters/aws.yaml").read_text(encoding="utf-8"))
    config["max_worker"] = 3
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(config))


def test_the_aws_head_does_no_gpu_work_and_spot_workers_have_gpus() -> None:
    nodes = yaml.safe_load(Path("clusters/aws.yaml").read_text(encoding="utf-8"))["available_node_types"]
    assert "GPU" not in nodes["head"]["resources"]
    assert nodes["head"]["max_workers"] == 0
    spot = [n for n in nodes.values() if n["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot"]
    assert spot
    assert all(n["resources"]["GPU"] > 0 and n["min_workers"] == 0 < n["max_workers"] for n in spot)
