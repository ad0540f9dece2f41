"""The HTTP face: Ray Serve LLM's OpenAI routes, with the arms' names."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.ingress import OpenAiIngress
from starlette.responses import JSONResponse

from msm_ray.ray_private import ModelCard, ModelList, OpenAIHTTPException, init
from msm_ray.serve import asking

NOT_FOUND, UNAUTHORIZED, ERRORS = 404, 401, 400
"""HTTP: no such model, no key, and the first status that is an error."""
Scope = MutableMapping[str, Any]


def routes(key: str | None) -> FastAPI:
    """The web application of Ray Serve LLM with `/health` and plain errors; with a key, nothing answers without that."""
    application = init()

    @application.get("/health")
    async def health() -> dict[str, str]:
        """What a load balancer asks; the arms were checked before the address was told."""
        return {"status": "ok"}

    application.add_middleware(PlainErrors)
    if key:
        application.add_middleware(KeyRequired, key=key)
    return application


class PlainErrors:
    """Says what went wrong in one short line, in OpenAI's form of an error (ASGI middleware)."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass everything on; the body of an error is put in plain words first."""
        start: dict[str, Any] = {}
        body = b""

        async def rewrite(message: dict[str, Any]) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= ERRORS:
                start = message
            elif not start:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    said = plain_error(body, start["status"])
                    await send({**start, "headers": _sized(start["headers"], len(said))})
                    await send({"type": "http.response.body", "body": said})

        await self._app(scope, receive, rewrite)


def plain_error(body: bytes, status: int) -> bytes:
    """An error's body as OpenAI's clients read it; what has another form is left as it is."""
    try:
        said = json.loads(body)
        error = {**said["error"], "message": asking.plain_message(said["error"]["message"])}
    except (ValueError, KeyError, TypeError):
        return body
    return json.dumps({"error": {"param": None, **error, "code": error.get("code") or status}}).encode()


def _sized(headers: Iterable[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


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
