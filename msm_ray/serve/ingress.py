"""The HTTP face: Ray Serve LLM's OpenAI routes, with the arms' names."""

from __future__ import annotations

from typing import Any

from ray.llm._internal.serve.core.configs.openai_api_models import ModelCard, ModelList, OpenAIHTTPException
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.ingress import OpenAiIngress

NOT_FOUND = 404


class ArmIngress(OpenAiIngress):
    """Knows every served name; an unknown one is a 404 that lists them."""

    def __init__(self, *, names: list[str], **options: Any) -> None:
        super().__init__(**options)
        self._names = names
        handle = next(iter(self._default_serve_handles.values())).options(stream=True)
        self._configured_serve_handles = dict.fromkeys(names, handle)

    async def _get_model_id(self, model: str | None) -> str:
        if model in self._names:
            return model
        raise OpenAIHTTPException(
            NOT_FOUND, f"unknown model {model!r}; served here: {', '.join(self._names)}", type="NotFoundError"
        )

    def _get_configured_serve_handle(self, model_id: str) -> DeploymentHandle:
        return self._configured_serve_handles[model_id]

    async def model(self, model_id: str) -> ModelCard | None:
        """The card of one served name, or None."""
        if model_id not in self._names:
            return None
        card = next(iter(self._model_cards.values()))
        return card.model_copy(update={"id": model_id})

    async def models(self) -> ModelList:
        """The base and all of its arms."""
        return ModelList(data=[card for name in self._names if (card := await self.model(name))])
