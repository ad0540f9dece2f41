"""Local weights under vLLM: a pool of engines on CPUs or GPUs for each model (`pool/`).

What shaped the arguments is in docs/stack.md; why the pool is ours, and what else was measured, in docs/decisions/engines.md.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from msm_ray.engines import EngineSettings, Opener
from msm_ray.engines.pool.client import PoolClient
from msm_ray.engines.pool.engine import VllmEngine
from msm_ray.engines.pool.keeper import Keeper, Recipe
from msm_ray.errors import PreflightError
from msm_ray.placement import generation
from msm_ray.placement.room import wait_for_room
from msm_ray.placement.settings import GenerationSettings, WorkerSettings

ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""vLLM's scheduler and its model in one process. On CPUs these get one each otherwise, which both import vLLM, and the
scheduler's waits for the other by asking again and again: half a core. It is so for the sake of threads that are bound to
cores; here none are, and every engine has an environment of its own."""
SPARE = 4.0
"""Rows that an engine has for each that it works on, so that one is there whenever one is finished. With two of them it wrote 7%
less, where answers are short (docs/results/generation.md)."""


def open_pool(settings: EngineSettings, workers: GenerationSettings) -> Any:
    """The keeper of a pool for a model: a Ray actor, whose engines start when somebody asks. Ends when nobody holds it any more.

    Raises PreflightError where the model has no tokenizer, or no room comes for the first engines.
    """
    import ray

    ends = end_tokens(settings.model)
    room = generation(workers, [settings.engine])
    wait_for_room(room)
    recipe = Recipe(
        actor=VllmEngine,
        model=str(Path(settings.model).resolve()) if Path(settings.model).is_dir() else settings.model,
        arguments=_arguments(workers),
        ends=tuple(ends),
        room=room,
        environment=engine_environment(workers),
        least=workers.first_workers,
        most=workers.workers,
        each=rows_each(settings, workers),
        deaths=workers.engine_deaths,
        idle_seconds=workers.idle_minutes * 60,
        seed=settings.seed,
    )
    actor: Any = ray.remote(Keeper)
    return actor.options(num_cpus=0, max_concurrency=10_000).remote(recipe)


def pool_opener(keeper: Any, settings: EngineSettings, workers: GenerationSettings, askers: int) -> Opener:
    """Opens the pool's engines in whatever process asks them, of which there will be so many."""
    each = math.ceil(rows_each(settings, workers) / askers)
    return partial(PoolClient, keeper, each, workers.workers, dict(settings.chat_template_kwargs))


def rows_each(settings: EngineSettings, workers: WorkerSettings) -> int:
    """Rows that an engine should have at the same time."""
    return max(settings.batch_size * settings.in_flight, math.ceil(SPARE * workers.max_num_seqs))


def end_tokens(model: str) -> list[int]:
    """Token ids that end a completion: those of the generation config and the tokenizer's own. Raises PreflightError."""
    from transformers import AutoTokenizer, GenerationConfig

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise PreflightError(f"Writer {model} has no tokenizer that can be loaded: {error}") from error
    try:
        ids = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:
        ids = None
    found = {*(ids if isinstance(ids, list) else [ids]), tokenizer.eos_token_id} - {None}
    if not found:
        raise PreflightError(
            f"Writer {model} names no end token (eos_token_id in generation_config.json): no document would end."
        )
    return sorted(found)


def _arguments(workers: WorkerSettings) -> dict[str, Any]:
    """Of an engine that writes: answers may have to keep to a schema."""
    asked = engine_arguments(workers, 0) | {
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}
    }
    if workers.tensor_parallel > 1:
        asked["distributed_executor_backend"] = "ray"  # takes the bundles of the engine's placement group
    return asked


def engine_arguments(workers: WorkerSettings, seed: int) -> dict[str, Any]:
    """vLLM's engine arguments for a worker: 32-bit and eager on CPUs, vLLM's own choice on GPUs."""
    arguments: dict[str, Any] = {
        "max_num_seqs": workers.max_num_seqs,
        "seed": seed,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "tensor_parallel_size": workers.tensor_parallel,
    }
    if workers.max_model_len:
        arguments["max_model_len"] = workers.max_model_len
    if not workers.gpus:
        arguments |= {"dtype": "float32", "enforce_eager": True}
    if not workers.gpus and workers.tensor_parallel == 1:
        arguments["distributed_executor_backend"] = ONE_PROCESS
    return arguments


def engine_environment(workers: WorkerSettings) -> dict[str, str]:
    """Environment of an engine's processes. On CPUs each gets one thread a CPU and a bounded key-value cache.

    `TORCHDYNAMO_DISABLE`: vLLM has its log-probabilities compiled by inductor, also in eager mode, and inductor wants a C++
    compiler, which an ordinary machine lacks. Without it engines start sooner and answer alike.
    """
    environment = {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"}
    if workers.gpus:
        return environment
    return environment | {
        "VLLM_CPU_KVCACHE_SPACE": str(max(1, math.ceil(workers.memory_gib))),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(max(1, int(workers.cpus))),
        "TORCHDYNAMO_DISABLE": "1",
    }
