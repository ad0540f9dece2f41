"""Requests and results of a batch as lines of JSONL (OpenAI's Batch API), each known by a key of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from msm_ray.engines.endpoint.requests import RefusedReply
from msm_ray.engines.settings import EngineSettings

VARIES = "avoided"
"""The column with those words of a row's prompt that another run may put otherwise, as they come of what is written so far."""


class NotDone(Exception):
    """A request of a batch was not worked on. again: whether another batch may help; full: since too much waits there already."""

    def __init__(self, error: str, again: bool, full: bool = False):
        super().__init__(error)
        self.again, self.full = again, full


Result = dict[str, Any] | RefusedReply | NotDone
"""A reply as it would have come by itself, or why there is none."""


def path_of(settings: EngineSettings) -> str:
    """Where the requests of a batch would go one by one."""
    return "/v1/chat/completions" if settings.chat else "/v1/completions"


def request_key(settings: EngineSettings, row: Mapping[str, Any]) -> str:
    """The same for the same request in every run: the row, its attempt, who is asked, in which words and how sampled."""
    said = row["messages"] if settings.chat else row["prompt"]
    words = json.dumps(said, ensure_ascii=False, sort_keys=True, default=dict)
    if varies := row.get(VARIES):
        words = words.replace(json.dumps(varies, ensure_ascii=False)[1:-1], "")
    sampled = [row[name] for name in ("temperature", "top_p", "max_tokens")]
    schema = row["json_schema"] if settings.structured else ""
    asked = [
        settings.url,
        settings.model,
        settings.chat_template_kwargs,
        row["id"],
        row.get("attempt", 1),
        *sampled,
        schema,
        words,
    ]
    return hashlib.sha256(json.dumps(asked, ensure_ascii=False, default=str).encode()).hexdigest()[:40]


def line_of(key: str, path: str, body: Mapping[str, Any]) -> bytes:
    """A request of a batch."""
    said = {"custom_id": key, "method": "POST", "url": path, "body": body}
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def read_results(text: str) -> dict[str, Result]:
    """What a file of results, or of errors, says of each request. A line that is no result says nothing."""
    found: dict[str, Result] = {}
    for line in text.split("\n"):
        try:
            said = json.loads(line)
            found[said["custom_id"]] = _result(said)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _result(said: Mapping[str, Any]) -> Result:
    reply, refused = said.get("response"), said.get("error")
    if reply and reply.get("status_code") == 200:
        return dict(reply["body"])
    if reply:
        body = reply.get("body") or {}
        error = body.get("error") or body
        return RefusedReply(reply["status_code"], error if isinstance(error, Mapping) else {"message": error})
    told = f"{refused.get('code')}: {refused.get('message')}" if isinstance(refused, Mapping) else "no result"
    return NotDone(f"the batch left it out ({told})", True)
