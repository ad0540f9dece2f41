"""The replica that holds the engine: adapters side by side, full checkpoints in turns, each checked before it answers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest
from vllm.exceptions import GenerationError

from msm_ray.corpus import templates
from msm_ray.ray_private import CallbackBase, DiskMultiplexConfig, LLMEngine, OpenAIHTTPException, VLLMEngine
from msm_ray.serve import asking, checks
from msm_ray.serve.arms import Arm, same_weights, turn_end_id
from msm_ray.serve.turns import Turns
from msm_ray.train.probe import MOST_LIKELY, PROBE, read_recorded

REFUSED = 409
"""HTTP status of a request for an arm that failed its check (conflict: what is loaded is not what was asked)."""


class LocalEngine(VLLMEngine):
    """Ray's vLLM engine; on a CPU the worker lives in the engine's process, which saves a process start of ten seconds.

    vLLM moves CPU workers to a process of their own to pin OpenMP threads; ours are set by environment and not pinned.
    """

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any) -> Any:
        parallel = vllm_engine_config.parallel_config
        if vllm_engine_config.device_config.device_type == "cpu" and parallel.world_size == 1:
            parallel.distributed_executor_backend = "uni"
        return super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, placement_group)


class NoDownload(CallbackBase):
    """Weights are folders that are there already: Ray's download task would only cost a process start."""

    async def on_before_node_init(self) -> None:
        """Skip the task that fetches models from a hub or a cloud."""
        self.ctx.run_init_node = False


class ArmServer(LLMServer):
    """Ray Serve LLM's server, asked by served name (`base` or `base:arm`) or by an alias of one.

    Serve's own multiplexing takes adapters from cloud storage only and knows no full checkpoints, so names are resolved
    here: adapters are loaded from their folders at start; a full checkpoint takes its turn (`Turns`): nothing in flight,
    `reload_weights`, prefix cache emptied, and at its first turn compared with transformers. An arm that fails a check
    is refused with status 409 for as long as the server lives.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits constructors
        self, llm_config: LLMConfig, *, arms: list[Arm], aliases: Mapping[str, str], probes: int
    ) -> None:
        self._arms, self._aliases = {arm.name: arm for arm in arms}, aliases
        self._base = arms[0]
        chat = templates.read_format(Path(self._base.folder))
        self._controls = chat.controls if chat else ()
        self._dtype = str(llm_config.engine_kwargs["dtype"])
        self._prompts = checks.probe_prompts(Path(self._base.folder), probes)
        of_base = turn_end_id(Path(self._base.folder))
        self._turn_ends = {arm.name: turn_end_id(Path(arm.folder)) if arm.template else of_base for arm in arms}
        self._checked: dict[str, str | None] = {}
        self._base_probes: list[checks.Probe] = []
        self._adapters: dict[str, list[checks.Probe]] = {}
        self._turns = Turns(self._base.folder, self._swap)
        llm_config.update_engine_kwargs(seed=secrets.randbits(31))
        await super().__init__(llm_config, engine_cls=LocalEngine)
        await self._check_start()

    @property
    def _running(self) -> LLMEngine:
        if self.engine is None:
            raise RuntimeError("the engine has not started")
        return self.engine

    async def check_arm(self, name: str) -> str | None:
        """Why an arm is refused, or None; loads it if it is new. Called once an arm when the app is opened."""
        arm = self._arms[name]
        try:
            async with self._turns.of(self._weights(arm)):
                return self._checked.get(name)
        except OpenAIHTTPException as refusal:
            return refusal.message

    async def _run_request(self, request: Any, **options: Any) -> AsyncGenerator[Any, None]:
        asked = request.model
        arm = self._arms[self._aliases.get(asked, asked)]
        if arm.name not in self._checked:  # this replica has not held it yet: its turn, and its check, come first
            await self.check_arm(arm.name)
        if reason := self._checked.get(arm.name):
            raise OpenAIHTTPException(REFUSED, reason, type="ArmRefused")
        if reason := asking.refusal(request, self._controls):
            raise OpenAIHTTPException(HTTPStatus.BAD_REQUEST, reason, type="BadRequestError")
        asking.ask_as_trained(request, arm.options, arm.template)
        return self._answer(arm, request, options, asked)

    async def _answer(self, arm: Arm, request: Any, options: dict[str, Any], asked: str) -> AsyncGenerator[Any, None]:
        """The engine knows the base and its adapters by name; a full checkpoint answers under the base's name."""
        ends = isinstance(request, ChatCompletionRequest) and not request.ignore_eos
        if ends and (end := self._turn_ends[arm.name]) is not None:
            request.stop_token_ids = [*(request.stop_token_ids or []), end]
        request.model = arm.name if arm.kind == "adapter" else self._base.name
        async with self._turns.of(self._weights(arm)):
            try:
                async for reply in await super()._run_request(request, **options):
                    yield asking.named(reply, asked)
            except GenerationError as error:  # its own words are "Internal server error"
                status, reason = asking.gave_up(request)
                raise OpenAIHTTPException(status, reason, type="GenerationError") from error

    def _weights(self, arm: Arm) -> str:
        return arm.folder if arm.kind == "full" else self._base.folder

    async def _check_start(self) -> None:
        self._base_probes = await self._probe(self._base.name)
        await self._compare(self._base)
        for arm in self._arms.values():
            if arm.kind == "adapter":
                await self._load_adapter(arm)

    async def _load_adapter(self, arm: Arm) -> None:
        source = DiskMultiplexConfig(
            model_id=arm.name, max_total_tokens=None, local_path=arm.folder, lora_assigned_int_id=1
        )
        await self._running.resolve_lora(source)
        probes = await self._probe(arm.name)
        self._checked[arm.name] = (
            self._unchanged(arm, probes) or self._same_as_another(arm, probes) or await self._unlike_its_record(arm)
        )
        self._adapters[arm.name] = probes

    def _same_as_another(self, arm: Arm, probes: list[checks.Probe]) -> str | None:
        """Two adapters with other weights that answer alike: one of them was loaded in the other's place."""
        for other, answered in self._adapters.items():
            if checks.differs(probes, answered, self._dtype) or same_weights(arm, self._arms[other]):
                continue
            return f"{arm.name}: answers all {len(probes)} probes exactly as {other} does, whose weights are others"
        return None

    async def _unlike_its_record(self, arm: Arm) -> str | None:
        try:
            recorded = read_recorded(Path(arm.folder))
        except (ValueError, KeyError, TypeError, OSError) as error:
            return f"{arm.name}: {Path(arm.folder).parent / PROBE} can't be read: {error!r}"
        if recorded is None:
            return None
        why = checks.why_not_recorded(await self._next(arm.name, recorded.prompts), recorded, self._dtype)
        return f"{arm.name}: {why}. The engine does not apply the adapter in {arm.folder}." if why else None

    async def _swap(self, folder: str) -> None:
        await self._running.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        await self._running.reset_prefix_cache()
        for arm in self._arms.values():
            if arm.kind == "full" and arm.folder == folder and arm.name not in self._checked:
                await self._compare(arm)

    async def _compare(self, arm: Arm) -> None:
        """Against transformers on the same folder: the engine may keep or mix weights without an error."""
        probes = await self._probe(self._base.name)
        reference = await asyncio.to_thread(
            checks.reference_logprobs, Path(arm.folder), self._prompts, probes, self._dtype
        )
        gap, tolerance = checks.mean_difference(probes, reference), checks.TOLERANCE[self._dtype]
        self._checked[arm.name] = None if arm.kind == "base" else self._unchanged(arm, probes)
        if not gap <= tolerance:
            self._checked[arm.name] = (
                f"{arm.name}: the engine's log-probabilities differ from transformers' by {gap:.4g} nats a token "
                f"(limit {tolerance:g}) on {arm.folder}. The engine does not hold this checkpoint's weights."
            )

    def _unchanged(self, arm: Arm, probes: list[checks.Probe]) -> str | None:
        if checks.differs(probes, self._base_probes, self._dtype):
            return None
        return (
            f"{arm.name}: answers all {len(probes)} probes exactly as the base does. Either {arm.folder} was not applied "
            "or its training changed nothing."
        )

    async def _probe(self, model: str) -> list[checks.Probe]:
        choices = await self._choices(model, self._prompts, max_tokens=checks.ANSWER_TOKENS, logprobs=0)
        return [checks.Probe(tuple(choice.token_ids), tuple(choice.logprobs.token_logprobs)) for choice in choices]

    async def _next(self, model: str, prompts: list[list[int]]) -> list[dict[int, float]]:
        """After each prompt the likeliest next tokens' log-probabilities (nats), by token id."""
        how = {"max_tokens": 1, "logprobs": MOST_LIKELY, "return_tokens_as_token_ids": True}
        choices = await self._choices(model, prompts, **how)
        return [checks.read_next(choice.logprobs.top_logprobs[0]) for choice in choices]

    async def _choices(self, model: str, prompts: list[list[int]], **how: Any) -> list[Any]:
        request = CompletionRequest(
            model=model, prompt=prompts, temperature=0, ignore_eos=True, return_token_ids=True, **how
        )
        replies: Any = self._running.completions(request)
        async for reply in replies:
            return reply.choices
        raise RuntimeError("the engine gave no answer to the probes")
