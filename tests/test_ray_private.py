"""Private names of Ray: one file imports them, and what they are is pinned, so that another Ray breaks here and says so."""

import ast
import inspect
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from msm_ray import ray_private

PACKAGE = Path(ray_private.__file__).parent


def private_names_of_ray(code: str) -> Iterator[tuple[int, str]]:
    """Lines that import a private name of Ray or reach for one by way of `ray`, with the name."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=names):
                found = [name.name for name in names]
            case ast.ImportFrom(module=str(module), names=names):
                found = [f"{module}.{name.name}" for name in names]
            case ast.Attribute():
                found = [ast.unparse(node)]
            case _:
                continue
        for name in found:
            first, *others = name.split(".")
            if first == "ray" and any(part.startswith("_") and not part.startswith("__") for part in others):
                yield node.lineno, name


@pytest.mark.parametrize(
    "line",
    [
        "import ray._private.worker",
        "from ray.llm._internal.serve import configs",
        "from ray import _private",
        "node = ray._private.worker.node",
    ],
)
def test_a_private_name_of_ray_is_found(line: str) -> None:
    assert list(private_names_of_ray(f"import ray\n{line}"))


def test_one_file_alone_imports_private_names_of_ray() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path != Path(ray_private.__file__)]
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {name}"
        for path in files
        for line, name in private_names_of_ray(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"these belong into msm_ray/ray_private.py, and what they are into this test: {found}"


SIGNATURES = {
    "CallbackBase": "llm_config raise_error_on_callback ctx_kwargs kwargs",
    "CallbackBase.on_before_node_init": "self",
    "LLMEngine.collective_rpc": "self method timeout args kwargs",
    "LLMEngine.completions": "self request raw_request_info",
    "LLMEngine.reset_prefix_cache": "self",
    "LLMEngine.resolve_lora": "self lora_model",
    "LLMServer.__init__": "self llm_config engine_cls model_downloader",
    "LLMServer._run_request": "self request engine_method batch_output_stream raw_request_info",
    "OpenAIHTTPException": "status_code message type internal_message",
    "OpenAiIngress.__init__": "self llm_deployments model_cards lora_paths _get_lora_model_metadata_func",
    "OpenAiIngress._get_configured_serve_handle": "self model_id",
    "OpenAiIngress._get_model_id": "self model",
    "OpenAiIngress.model": "self model_id",
    "OpenAiIngress.models": "self",
    "TorchBackend.on_start": "self worker_group backend_config",
    "VLLMEngine._start_async_llm_engine": "self vllm_engine_args vllm_engine_config placement_group",
    "WorkerGroup.execute": "self fn fn_args fn_kwargs",
    "WorkerGroup.execute_single": "self rank fn fn_args fn_kwargs",
    "WorkerGroup.execute_single_async": "self rank fn fn_args fn_kwargs",
    "init": "",
    "set_torch_distributed_env_vars": "",
    "available_resources_per_node": "",
    "state.get_cluster_config": "",
    "to_model_metadata": "model_id model_config overrides",
    "worker.print_to_stdstream": "data ignore_prefix",
    "Node.get_logs_dir_path": "self",
}
"""What we call, and what our classes override -> its parameters in Ray 2.60.0."""

FIELDS = {
    "CallbackCtx": "worker_node_download_model placement_group runtime_env custom_data run_init_node",
    "DiskMultiplexConfig": "model_id max_total_tokens local_path lora_assigned_int_id",
    "ModelCard": "id object owned_by permission metadata",
    "ModelList": "data object",
}
"""What we make or change -> its fields in Ray 2.60.0."""


@pytest.fixture(scope="module")
def rays() -> Any:
    """Everything that is pinned, by its name: private, and public with private parts that we override."""
    from ray._private import state, worker
    from ray._private.node import Node
    from ray.serve.llm.deployment import LLMServer
    from ray.serve.llm.ingress import OpenAiIngress
    from ray.train.v2._internal.execution.worker_group import WorkerGroup

    named = {name: getattr(ray_private, name) for name in ray_private.HEAVY}
    named["CallbackCtx"] = type(ray_private.CallbackBase(llm_config=None).ctx)
    classes = {kind.__name__: kind for kind in (LLMServer, Node, OpenAiIngress, WorkerGroup)}
    return SimpleNamespace(
        **named,
        **classes,
        worker=worker,
        state=state.state,
        available_resources_per_node=state.available_resources_per_node,
    )


def said(name: str, now: str, pinned: str) -> str:
    import ray

    return (
        f"Ray {ray.__version__} has {name}({now}), Ray 2.60.0 had ({pinned}): see to msm_ray/ray_private.py and "
        "msm_ray/serve/, run the real tests of serving, then pin what is there now"
    )


@pytest.mark.real
@pytest.mark.parametrize(("name", "pinned"), SIGNATURES.items())
def test_what_is_called_and_overridden_takes_what_it_took(rays: Any, name: str, pinned: str) -> None:
    now = " ".join(inspect.signature(attrgetter(name)(rays)).parameters)
    assert now == pinned, said(name, now, pinned)


@pytest.mark.real
@pytest.mark.parametrize(("name", "pinned"), FIELDS.items())
def test_what_is_made_and_changed_has_the_fields_it_had(rays: Any, name: str, pinned: str) -> None:
    kind = getattr(rays, name)
    now = " ".join(getattr(kind, "model_fields", None) or kind.__dataclass_fields__)
    assert now == pinned, said(name, now, pinned)


@pytest.mark.real
def test_what_is_held_is_where_it_was(rays: Any) -> None:
    """Attributes that only an instance has, and what Ray looks up by its name while it runs."""
    ingress = rays.OpenAiIngress({}, {})
    for name in ("_default_serve_handles", "_model_cards", "_configured_serve_handles"):
        assert isinstance(getattr(ingress, name), dict), name
    refusal = rays.OpenAIHTTPException(404, "no such arm", type="NotFoundError")
    assert (refusal.status_code, refusal.message, refusal.type) == (404, "no such arm", "NotFoundError")
    assert rays.CallbackBase(llm_config=None).ctx.run_init_node is True
    assert hasattr(rays.worker, "_global_node")
    assert {"collective_rpc", "completions", "reset_prefix_cache", "resolve_lora"} <= set(vars(rays.VLLMEngine))
