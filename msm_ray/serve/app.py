"""Deploy the arms of one base on a running Ray, check them, take them down again."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msm_ray import progress
from msm_ray.engines import vllm as engines
from msm_ray.errors import StageError
from msm_ray.placement import engine_bundles, serving
from msm_ray.placement.room import wait_for_room
from msm_ray.placement.settings import ServeSettings
from msm_ray.serve.address import listen
from msm_ray.serve.arms import LORA_RANKS, Arm, read_arms
from msm_ray.serve.lifetime import APP, hold_serve

if TYPE_CHECKING:
    from ray.serve.deployment import Application

SERVER = "server"
"""The deployment of the engines. No part of a folder's name goes into it: with an accent there, a server never came up."""
REPLICA_CPUS = 1
NOTE = "serving.json"
LOGGING = {"log_level": "ERROR", "enable_access_log": False}
"""An access log line for every rollout costs time and says nothing that the Inspect log does not."""


@dataclass(frozen=True)
class Served:
    """What is up. address: base of the OpenAI routes; names: served names, the base first; seconds: how long it took.

    key: what a request has to show as `Authorization: Bearer KEY`; none: nothing. refused: served name -> why that arm
    failed its check and answers nothing.
    """

    address: str
    base_id: str
    names: tuple[str, ...]
    seconds: float
    key: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)

    def name(self, arm_id: str) -> str:
        """The name to ask an arm by where no aliases were given."""
        return f"{self.base_id}:{arm_id}"


@contextmanager
def open_arms(
    base: Path,
    arms: dict[str, Path],
    settings: ServeSettings,
    *,
    base_id: str,
    work: Path,
    options: Mapping[str | None, Mapping[str, Any]] | None = None,
    nodes_max: int | None = None,
    aliases: Mapping[str, str | None] | None = None,
    port: int = 0,
    own_templates: Collection[str] = (),
) -> Iterator[Served]:
    """Serve a base and its arms behind one OpenAI-compatible address, on the Ray that is already running.

    base: a Hugging Face folder; arms: arm id -> PEFT adapter folder or full checkpoint of the base's shape. An arm is
    asked as `<base_id>:<arm-id>`. Every arm is loaded and checked before the address is handed out: a full checkpoint
    against transformers, an adapter against what its training recorded, every arm against the base; those that fail stand
    in `Served.refused`, and every replica answers for them with 409. options: the `chat_template_kwargs` that an arm (None:
    the base) is asked with where a request gives none. nodes_max: nodes that the cluster may grow to. aliases: other names
    to ask by -> arm id (None: the base); with them, those are the names that are told. port: taken if it is free and the
    settings name none. own_templates: ids of arms that are asked with the chat template in their own folder. While it is
    up, `work/serving.json` (for its owner's eyes: it has the key) says where and under which names.
    On leaving, Serve and its processes are gone; Ray stays.

    Raises `PreflightError` (port in use, no room, Serve taken by others, tied embeddings on a CPU engine) or `StageError`
    where the base itself fails its check or the server is not up within `settings.up_minutes`, with its own account.
    """
    from ray import serve

    folders = {arm_id: folder.resolve() for arm_id, folder in arms.items()}
    served_arms = read_arms(
        base.resolve(), folders, base_id, on_cpu=settings.gpus == 0, options=options, own_templates=own_templates
    )
    wait_for_room(serving(settings))
    _quiet()
    note = work / NOTE
    with hold_serve(f"the run with its root in {work.resolve().parent}"):
        began, where = time.monotonic(), listen(settings, nodes_max, port)
        http = {"host": where.host, "port": where.port}
        serve.start(proxy_location="HeadOnly", http_options=http, logging_config=LOGGING)
        called = {
            name: base_id if arm_id is None else f"{base_id}:{arm_id}" for name, arm_id in (aliases or {}).items()
        }
        with progress.waiting("server", f"{len(served_arms)} models to be loaded and checked"):
            _deploy(_application(served_arms, settings, where.key, called), settings.up_minutes)
            refused = why_refused(served_arms)
        if base_id in refused:
            raise StageError(refused[base_id])
        try:
            names = tuple(dict.fromkeys((base_id, *called))) if called else tuple(arm.name for arm in served_arms)
            refused |= {name: refused[arm] for name, arm in called.items() if arm in refused}
            served = Served(where.address, base_id, names, time.monotonic() - began, where.key, refused)
            _note(note, served)
            yield served
        finally:
            note.unlink(missing_ok=True)


def read_note(work: Path) -> Served | None:
    """What `open_arms` noted in a folder while it is up, or was when its process was killed; None without a note."""
    file = work / NOTE
    return Served(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _note(file: Path, served: Served) -> None:
    """Tell others on this machine where the arms are; the key is for the owner's eyes."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as note:
        json.dump(asdict(served), note, indent=1)


def _quiet() -> None:
    """Ray and vLLM tell every setting on the driver's terminal; a user's terminal is for what went wrong."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)


def _deploy(application: Application, minutes: float) -> None:
    """Bring it up, or say why it isn't. Serve itself would wait for ever for a replica that never gets ready."""
    from ray import serve

    target = serve.RunTarget(application, name=APP, route_prefix="/", logging_config=LOGGING)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    until = time.monotonic() + 60 * minutes
    while (state := _state()) != "RUNNING":
        if state in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise StageError(f"the server did not come up: {_cause()}")
        if time.monotonic() > until:
            raise StageError(
                f"the server is not up after {minutes:g} minutes (cluster.serving.up_minutes): {_cause()}\nRaise it where "
                "weights take longer to load."
            )
        time.sleep(0.5)


def _state() -> str:
    from ray import serve

    application = serve.status().applications.get(APP)
    return application.status.value if application else "not there yet"


def _cause() -> str:
    """The exception of the replica that failed, out of Serve's account of it; the whole account where there is none."""
    from ray import serve

    application = serve.status().applications.get(APP)
    messages = (
        [] if application is None else [application.message, *(d.message for d in application.deployments.values())]
    )
    account = "\n".join(message for message in messages if message)
    errors = [line for line in account.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (
        errors[-1]
        if errors
        else account[-3000:] or "Ray Serve gave no reason; see logs/serve in the Ray session's folder."
    )


def why_refused(arms: list[Arm]) -> dict[str, str]:
    """What is wrong with arms of the running app, by served name, for each that failed its check; loads them all once."""
    from ray import serve

    handle = serve.get_deployment_handle(SERVER, APP)
    return {arm.name: reason for arm in arms if (reason := handle.check_arm.remote(arm.name).result())}


def _application(arms: list[Arm], settings: ServeSettings, key: str | None, aliases: Mapping[str, str]) -> Application:
    from ray import serve
    from ray.serve.llm import build_llm_deployment
    from ray.serve.llm.ingress import make_fastapi_ingress

    from msm_ray.ray_private import to_model_metadata
    from msm_ray.serve.ingress import ArmIngress, routes

    config = _llm_config(arms, settings)
    server = build_llm_deployment(
        config,
        bind_kwargs={"arms": arms, "aliases": aliases, "probes": settings.probes},
        override_serve_options={"name": SERVER, "logging_config": LOGGING},
    )
    options: dict[str, Any] = {
        "num_replicas": 1,
        "max_ongoing_requests": 10_000,
        "ray_actor_options": {"num_cpus": 1},
        "logging_config": LOGGING,
    }
    ingress: Any = make_fastapi_ingress(ArmIngress, app=routes(key))
    return serve.deployment(name="ingress", **options)(ingress).bind(
        llm_deployments={config.model_id: server},
        model_cards={config.model_id: to_model_metadata(config.model_id, config)},
        names=list(dict.fromkeys([arms[0].name, *(aliases or (arm.name for arm in arms))])),
    )


def _llm_config(arms: list[Arm], settings: ServeSettings) -> Any:
    from ray.serve.llm import LLMConfig

    from msm_ray.serve.server import ArmServer, NoDownload

    first, *others = engine_bundles(settings)
    first["CPU"] -= REPLICA_CPUS  # the replica actor's own, which Serve adds to the first bundle again
    return LLMConfig(
        model_loading_config={"model_id": arms[0].name, "model_source": arms[0].folder},
        server_cls=ArmServer,
        engine_kwargs=engine_options(arms, settings),
        deployment_config={"num_replicas": settings.workers, "max_ongoing_requests": 10_000},
        placement_group_config={"bundles": [first, *others], "strategy": "STRICT_PACK"},
        accelerator_config={"kind": "gpu" if settings.gpus else "cpu"},
        runtime_env={"env_vars": engine_environment(settings)},
        callback_config={"callback_class": NoDownload},
        log_engine_metrics=False,
    )


def engine_options(arms: list[Arm], settings: ServeSettings) -> dict[str, Any]:
    """vLLM's arguments. On a CPU: float32 and eager; on GPUs its defaults with bfloat16."""
    options: dict[str, Any] = {
        "dtype": "bfloat16" if settings.gpus else "float32",
        "max_num_seqs": settings.max_num_seqs,
        "tensor_parallel_size": settings.tensor_parallel,
        # Neutral sampling where a request says nothing: a checkpoint's generation_config must not decide a rate.
        "generation_config": "vllm",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if settings.max_model_len:
        options["max_model_len"] = settings.max_model_len
    if not settings.gpus:
        options["enforce_eager"] = True
    if any(arm.template for arm in arms):  # the server gives it; what a request brings itself is refused (`asking`)
        options["trust_request_chat_template"] = True
    ranks = [arm.rank for arm in arms if arm.kind == "adapter"]
    if ranks:
        options |= {
            "enable_lora": True,
            "max_loras": min(len(ranks), 8),
            "max_cpu_loras": max(len(ranks), 8),
            "max_lora_rank": next(rank for rank in LORA_RANKS if rank >= max(ranks)),
        }
    return options


def engine_environment(settings: ServeSettings) -> dict[str, str]:
    """What the engine's processes read from the environment: as any engine's; one CPU of the share is the replica actor's."""
    own = settings.model_copy(update={"cpus": max(settings.cpus - 1, 1)})
    return engines.engine_environment(own) | {
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"),
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
