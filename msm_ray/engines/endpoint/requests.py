"""A row as a request in OpenAI's form, and a reply as the answer of its row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msm_ray.engines import Answer
from msm_ray.engines.settings import EngineSettings

"""completion, finish_reason, num_input_tokens, num_generated_tokens, error, failure (`engines`)."""
BYTES_A_TOKEN = 4


class RefusedReply(Exception):
    """A refusal that came as a reply: in a batch's results, or under status 200, as routers do it."""

    def __init__(self, status_code: int, said: Mapping[str, Any]):
        self.status_code, self.message = status_code, str(said.get("message") or said)
        self.code, self.type, self.param = said.get("code"), said.get("type"), said.get("param")
        super().__init__(self.message)


def body_of(settings: EngineSettings, row: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent for a row. parameters: sampling and the longest answer (`parameters`)."""
    asked: dict[str, Any] = (
        {"messages": [dict(message) for message in row["messages"]]} if settings.chat else {"prompt": row["prompt"]}
    )
    body = {"model": settings.model, **asked, **parameters}
    if settings.chat_template_kwargs:
        body["chat_template_kwargs"] = dict(settings.chat_template_kwargs)
    return body | (response_format(row["json_schema"]) if settings.structured else {})


def response_format(schema: str) -> dict[str, Any]:
    """What asks for an answer that keeps to a JSON schema, in OpenAI's form, which vLLM takes too."""
    asked = {"name": "answer", "strict": True, "schema": json.loads(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": asked}}


def estimated_tokens(settings: EngineSettings, row: Mapping[str, Any]) -> float:
    """Tokens of a request before it is answered, as providers count them against a rate: the prompt's and the longest answer."""
    said = "".join(message["content"] for message in row["messages"]) if settings.chat else row["prompt"]
    return len(said.encode()) / BYTES_A_TOKEN + row["max_tokens"]


def read_reply(reply: Any, chat: bool) -> Answer:
    """The answer in a reply. Raises RefusedReply where it is a refusal, ValueError, KeyError or TypeError at another form."""
    if not isinstance(reply, Mapping):
        raise ValueError(f"no JSON object: {str(reply)[:80]!r}")
    if refusal := reply.get("error"):
        said = refusal if isinstance(refusal, Mapping) else {"message": refusal}
        status = said.get("code")
        raise RefusedReply(status if isinstance(status, int) and status >= 400 else 500, said)
    choice = (reply.get("choices") or [None])[0]
    if choice is None:  # some filters take the whole answer away
        text, finish = "", "content_filter"
    else:
        text, finish = choice["message"].get("content") if chat else choice["text"], choice.get("finish_reason")
    usage = reply.get("usage") or {}
    return {
        "completion": text or "",
        "finish_reason": finish or "stop",
        "num_input_tokens": usage.get("prompt_tokens") or 0,
        "num_generated_tokens": usage.get("completion_tokens") or 0,
        "error": "",
        "failure": "",
    }


def may_be_charged(problem: BaseException) -> bool:
    """Whether a request that failed may have been worked on: one that ran out of time, not one that never got through."""
    if getattr(problem, "status_code", None) is not None:
        return False
    causes = []
    cause: BaseException | None = problem
    while cause is not None:
        causes.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return any("Timeout" in name for name in causes) and not any("Connect" in name or "Pool" in name for name in causes)
