"""Every private name of Ray that is imported here, in one file, as Ray 2.60.0 has it: these have no public way.

Another Ray may change them without a word. `tests/test_ray_private.py` pins them, and what our classes override of the
public ones, so that it breaks there first. What is light is a function; what brings vLLM or torch along is imported when
it is first asked for (`HEAVY`), so that importing this file costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.llm._internal.common.callbacks.base import CallbackBase as CallbackBase
    from ray.llm._internal.serve.core.configs.llm_config import DiskMultiplexConfig as DiskMultiplexConfig
    from ray.llm._internal.serve.core.configs.openai_api_models import ModelCard as ModelCard
    from ray.llm._internal.serve.core.configs.openai_api_models import ModelList as ModelList
    from ray.llm._internal.serve.core.configs.openai_api_models import OpenAIHTTPException as OpenAIHTTPException
    from ray.llm._internal.serve.core.configs.openai_api_models import to_model_metadata as to_model_metadata
    from ray.llm._internal.serve.core.engine.protocol import LLMEngine as LLMEngine
    from ray.llm._internal.serve.core.ingress.ingress import init as init
    from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine as VLLMEngine

_SERVE = "ray.llm._internal.serve"
HEAVY = {
    "CallbackBase": "ray.llm._internal.common.callbacks.base:CallbackBase",
    "DiskMultiplexConfig": f"{_SERVE}.core.configs.llm_config:DiskMultiplexConfig",
    "LLMEngine": f"{_SERVE}.core.engine.protocol:LLMEngine",
    "ModelCard": f"{_SERVE}.core.configs.openai_api_models:ModelCard",
    "ModelList": f"{_SERVE}.core.configs.openai_api_models:ModelList",
    "OpenAIHTTPException": f"{_SERVE}.core.configs.openai_api_models:OpenAIHTTPException",
    "TorchBackend": "ray.train.torch.config:_TorchBackend",
    "VLLMEngine": f"{_SERVE}.engines.vllm.vllm_engine:VLLMEngine",
    "init": f"{_SERVE}.core.ingress.ingress:init",
    "set_torch_distributed_env_vars": "ray.train.torch.config:_set_torch_distributed_env_vars",
    "to_model_metadata": f"{_SERVE}.core.configs.openai_api_models:to_model_metadata",
}
"""What can be imported from here besides the functions below -> where Ray has it."""


def __getattr__(name: str) -> Any:
    """One of `HEAVY`, imported now (PEP 562)."""
    if name not in HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(HEAVY[name])


def cluster_config() -> Any:
    """What an autoscaler may add here (`node_group_configs`: `resources`, `max_count`); None: Ray does not know."""
    from ray._private.state import state

    return state.get_cluster_config()


def whole_cpus_free() -> int:
    """CPUs that are not asked for now, counted node by node: two halves on two nodes give nobody one."""
    from ray._private.state import available_resources_per_node

    return sum(int(free.get("CPU", 0)) for free in available_resources_per_node().values())


def log_folder() -> Path | None:
    """Where the Ray that this process started, or is connected to, keeps its logs on this machine; None without one."""
    from ray._private import worker

    # Not the plain attribute: this is asked while an error is told, which must not be hidden by another one.
    node = getattr(worker, "_global_node", None)
    return Path(node.get_logs_dir_path()) if node is not None else None


def notices_to_stderr() -> None:
    """Have what Ray's daemons tell the driver go where complaints belong. Ray prints it on standard output, and has no setting.

    Called when Ray is up. Standard output stays ours: tables, JSON.
    """
    from ray._private import worker

    original = worker.print_to_stdstream
    if getattr(original, "of_msm", False):
        return

    def print_notice(data: dict[str, Any], ignore_prefix: bool) -> None:
        original({**data, "is_err": True} if data.get("pid") == "raylet" else data, ignore_prefix)

    print_notice.of_msm = True  # type: ignore[attr-defined]
    worker.print_to_stdstream = print_notice
