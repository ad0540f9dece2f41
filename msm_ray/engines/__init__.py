"""Who answers a prompt. Every engine has one signature: a dataset of prompts becomes a dataset of completions.

Rows come with `id`, `prompt` (one string: a text to continue, or a user message for `chat` engines), `temperature`, `top_p`,
`max_tokens`, `position` and columns that are carried along. They leave without `prompt`, with `completion`, `finish_reason`
("stop", "length"), `num_input_tokens`, `num_generated_tokens` (0: not counted), `error` ("" when the row was answered) and
`failure`: how it failed (`failures.REFUSED`, `LOST`, `DOUBTFUL`, `SPENT`), "" when it did not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msm_ray.config import DocumentSettings, WorkerSettings

if TYPE_CHECKING:
    from ray.data import Dataset

    from msm_ray.spec import Spec

Engine = Callable[["Dataset"], "Dataset"]

DETERMINISTIC = frozenset({"offline", "replay"})
"""Engines that always answer the same row with the same text, so that trying anew brings nothing."""


def build_engine(
    settings: DocumentSettings,
    workers: WorkerSettings,
    model: str,
    specs: Mapping[str, Spec],
    seed: int,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Engine:
    """The engine that `settings.engine` names. model: what is asked; specs: by digest, for the offline writer.

    chat_template_kwargs: of the experiment, for writers that are asked in chats.

    Raises SettingsError or PreflightError when the engine cannot work (no address, no key, no recording, no weights).
    """
    if settings.engine == "vllm":
        from msm_ray.engines.vllm import vllm_engine

        return vllm_engine(settings, workers, model, seed, chat_template_kwargs or {})
    if settings.engine == "endpoint":
        from msm_ray.engines.endpoint import endpoint_engine

        return endpoint_engine(settings, workers, model, chat_template_kwargs or {})
    if settings.engine == "replay":
        from msm_ray.engines.replay import replay_engine

        return replay_engine(settings)
    from msm_ray.engines.offline import offline_engine

    return offline_engine(settings, specs)


def generator_name(settings: DocumentSettings, model: str) -> str:
    """What stands as `generator` in the rows: the model, or the engine where no model writes."""
    if settings.engine in DETERMINISTIC:
        return settings.engine
    return model.rstrip("/").rpartition("/")[2] or model
