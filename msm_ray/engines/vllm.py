"""Local weights under vLLM, as actors of a Ray Data pipeline (ray.data.llm), on CPUs or GPUs.

What shaped it is in docs/stack.md: sampling parameters have the same keys in every row, batches are small with many in flight,
and no seed goes with a single request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray.engines import PROMPT_COLUMNS, Engine, EngineSettings
from msm_ray.errors import PreflightError
from msm_ray.failures import LOST, REFUSED
from msm_ray.placement import engine_bundles, generation
from msm_ray.placement.room import wait_for_room
from msm_ray.placement.settings import WorkerSettings

if TYPE_CHECKING:
    from ray.data import Dataset

ROWS_OWN = re.compile(
    r"^(ValueError|VLLM\w*(Validation|Client)\w*)\b|max(imum|_)(model|context)[ _]len|longer than the maximum|too long",
    re.I,
)


def vllm_engine(settings: EngineSettings, workers: WorkerSettings) -> Engine:
    """An engine over `workers.workers` vLLM actors that load `settings.model` (a folder or a hub id)."""
    ends = end_tokens(settings.model)
    config = _processor_config(settings, workers)
    prompt = "messages" if settings.chat else "prompt"

    def preprocess(row: dict[str, Any]) -> dict[str, Any]:
        return {"sampling_params": sampling(row, ends, settings.structured), prompt: row[prompt]}

    def run(prompts: Dataset) -> Dataset:
        from ray.data.llm import build_processor

        wait_for_room(generation(workers, [(settings.engine, settings.chat)]))
        carried = [name for name in prompts.columns() or [] if name not in PROMPT_COLUMNS]
        processor = build_processor(config, preprocess=preprocess, postprocess=_postprocess(carried, ends))
        return processor(prompts).map(_with_error(carried))

    return run


def sampling(row: Mapping[str, Any], ends: list[int], structured: bool) -> dict[str, Any]:
    """A row's sampling parameters, as Ray's stage takes them. Their keys are the same in all rows of a dataset, or it hangs."""
    asked = {key: row[key] for key in ("temperature", "top_p", "max_tokens")} | {"stop_token_ids": ends}
    return asked | ({"structured_outputs": {"json": row["json_schema"]}} if structured else {})


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


def _processor_config(settings: EngineSettings, workers: WorkerSettings) -> Any:
    from ray.data.llm import vLLMEngineProcessorConfig

    model, arguments = settings.model, engine_arguments(workers, settings.seed)
    if settings.structured:
        arguments["structured_outputs_config"] = {"backend": "xgrammar", "disable_any_whitespace": True}
    in_flight = max(settings.in_flight, math.ceil(1.1 * workers.max_num_seqs / settings.batch_size))
    return vLLMEngineProcessorConfig(
        model_source=str(Path(model).resolve()) if Path(model).is_dir() else model,
        engine_kwargs=arguments,
        runtime_env={"env_vars": engine_environment(workers)},
        placement_group_config={"bundles": engine_bundles(workers), "strategy": "STRICT_PACK"},
        concurrency=(workers.workers, workers.workers),
        batch_size=settings.batch_size,
        max_concurrent_batches=in_flight,
        should_continue_on_error=True,
        log_engine_metrics=False,
        chat_template_stage={
            "enabled": settings.chat,
            "chat_template_kwargs": dict(settings.chat_template_kwargs),
        },
        tokenize_stage=False,
        detokenize_stage=False,
    )


def _postprocess(carried: list[str], ends: list[int]) -> Any:
    """Ray's stage tells no finish reason: a completion that doesn't end with an end token was cut off."""

    def postprocess(row: dict[str, Any]) -> dict[str, Any]:
        tokens = row["generated_tokens"]
        ended = len(tokens) > 0 and int(tokens[-1]) in ends
        return {name: row[name] for name in carried} | {
            "completion": row["generated_text"],
            "finish_reason": "stop" if ended else "length",
            "num_input_tokens": row["num_input_tokens"],
            "num_generated_tokens": row["num_generated_tokens"],
        }

    return postprocess


def _with_error(carried: list[str]) -> Any:
    """Rows with an inference error bypass `postprocess`; here they get the columns of the others."""

    def settle(row: dict[str, Any]) -> dict[str, Any]:
        error = row.get("__inference_error__") or ""
        return {name: row[name] for name in carried} | {
            "completion": "" if error else row["completion"],
            "finish_reason": "" if error else row["finish_reason"],
            "num_input_tokens": int(row["num_input_tokens"] or 0),
            "num_generated_tokens": 0 if error else int(row["num_generated_tokens"]),
            "error": error,
            "failure": failure_of(error),
        }

    return settle


def failure_of(error: str) -> str:
    """Whose fault an inference error is: a prompt that vLLM cannot take is refused, all else is the engine's."""
    return "" if not error else REFUSED if ROWS_OWN.search(error) else LOST
