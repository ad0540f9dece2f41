"""The HTTP face: Ray Serve LLM's OpenAI routes, with the arms' names."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI
from ray.llm._internal.serve.core.configs.openai_api_models import ModelCard, ModelList, OpenAIHTTPException
from ray.llm._internal.serve.core.ingress.ingress import init
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.ingress import OpenAiIngress

NOT_FOUND, UNAUTHORIZED = 404, 401
Scope = MutableMapping[str, Any]


def routes(key: str | None) -> FastAPI:
    """The web application of Ray Serve LLM; with a key, none of its routes answers without that."""
    application = init()
    if key:
        application.add_middleware(KeyRequired, key=key)
    return application


class KeyRequired:
    """Refuses requests without `Authorization: Bearer KEY`, in OpenAI's form of an error (ASGI middleware)."""

    def __init__(self, app: Callable[..., Awaitable[None]], key: str) -> None:
        self._app, self._expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass on what has the key."""
        shown = next((value for name, value in scope.get("headers", ()) if name == b"authorization"), b"")
        if scope["type"] != "http" or secrets.compare_digest(shown, self._expected):
            await self._app(scope, receive, send)
            return
        from starlette.responses import JSONResponse

        said = {"message": "this address asks for its key (Authorization: Bearer)", "type": "AuthenticationError"}
        await JSONResponse({"error": {**said, "code": UNAUTHORIZED}}, UNAUTHORIZED)(scope, receive, send)


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
