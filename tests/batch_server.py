"""An address with a Batch API on 127.0.0.1: files, batches and their results as OpenAI has them, and what can go wrong there."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from endpoint_server import Reply, answer_to, serving

Line = dict[str, Any]
Answers = Callable[[Line], Reply | None]
"""What a request of a batch gets; None: an answer."""


@dataclass
class Batch:
    """polls: how often it was asked for."""

    id: str
    key: str
    path: str
    metadata: dict[str, str]
    lines: list[Line]
    polls: int = 0
    status: str = "in_progress"
    output: str | None = None
    errors: str | None = None
    failed: dict[str, Any] | None = None

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id, "object": "batch", "endpoint": self.path, "input_file_id": "file-in", "completion_window": "24h",
            "created_at": 1, "status": self.status, "metadata": self.metadata, "output_file_id": self.output,
            "error_file_id": self.errors, "errors": self.failed,
        }  # fmt: skip


@dataclass
class Script:
    """How the address behaves. polls: after so many a batch ends, with `status`; left_out: requests that it then had not come to.

    refuse: for a method and a path, the reply that it gets in the place of what is asked; lost_replies: batches that are taken
    though whoever sent them is told nothing of it; failed: errors with which a batch is not even begun, as it is with the queue
    full where more than `most_at_once` of them are worked on.
    """

    says: Answers = lambda line: None
    polls: int = 2
    status: str = "completed"
    left_out: Callable[[Line], bool] = lambda line: False
    refuse: Callable[[str, str, str], Reply | None] = lambda method, path, key: None
    lost_replies: int = 0
    most_at_once: int = 10**9
    failed: list[dict[str, str]] = field(default_factory=list)


class BatchServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.files, self.batches = script, dict[str, str](), dict[str, Batch]()
        self.lock = threading.RLock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def asked(self) -> Counter[str]:
        """How often each question was in a batch that cost something."""
        sent = [line for batch in self.batches.values() if batch.status != "failed" for line in batch.lines]
        return Counter(line["body"]["messages"][-1]["content"] for line in sent)

    def put(self, content: str) -> str:
        self.files[name := f"file-{len(self.files)}"] = content
        return name

    def poll(self, batch: Batch) -> None:
        batch.polls += 1
        before = [each for each in self.batches.values() if each.status == "in_progress"]
        if batch in before[self.script.most_at_once :]:
            said = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            batch.status, batch.failed = "failed", {"object": "list", "data": [said]}
        if batch.polls < self.script.polls or batch.status != "in_progress":
            return
        if self.script.failed:
            batch.status, batch.failed = "failed", {"object": "list", "data": [self.script.failed.pop(0)]}
            return
        batch.status = self.script.status
        done, wrong = [], []
        for line in reversed(batch.lines):  # in another order than they came
            if self.script.left_out(line):
                said: dict[str, Any] = {
                    "response": None,
                    "error": {"code": "batch_expired", "message": "not in its time"},
                }
            else:
                reply = self.script.says(line) or Reply(
                    200, answer_to(line["body"], line["body"]["messages"][-1]["content"])
                )
                said = {"response": {"status_code": reply.status, "request_id": "r", "body": reply.body}, "error": None}
            found = {"id": "result", "custom_id": line["custom_id"], **said}
            (done if said["response"] and said["response"]["status_code"] == 200 else wrong).append(json.dumps(found))
        batch.output = self.put("\n".join(done) + "\n") if done else None
        batch.errors = self.put("\n".join(wrong)) if wrong else None


@contextmanager
def batch_server(**script: Any) -> Iterator[BatchServer]:
    server = BatchServer(Script(**script))
    with serving(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BatchServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if refused := self.server.script.refuse("POST", self.path, self.key):
            return self.reply(refused.status, refused.body)
        with self.server.lock:
            if self.path == "/v1/files":
                name = self.server.put(_uploaded(self.headers["Content-Type"], content))
                return self.reply(
                    200,
                    {"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"},
                )
            asked = json.loads(content)
            lines = [json.loads(line) for line in self.server.files[asked["input_file_id"]].splitlines()]
            batch = Batch(
                f"batch_{len(self.server.batches)}", self.key, asked["endpoint"], asked.get("metadata") or {}, lines
            )
            self.server.batches[batch.id] = batch
            if self.server.script.lost_replies:
                self.server.script.lost_replies -= 1
                self.close_connection = True
                return None
            return self.reply(200, batch.shown())

    def do_GET(self) -> None:
        if refused := self.server.script.refuse("GET", self.path, self.key):
            return self.reply(refused.status, refused.body)
        with self.server.lock:
            if found := re.fullmatch(r"/v1/files/([^/]+)/content", self.path):
                return self.send(200, self.server.files[found[1]].encode())
            own = {name: batch for name, batch in self.server.batches.items() if batch.key == self.key}
            if found := re.fullmatch(r"/v1/batches/([^/?]+)", self.path):
                if found[1] not in own:
                    return self.reply(404, {"error": {"message": f"No batch found with id {found[1]}"}})
                self.server.poll(own[found[1]])
                return self.reply(200, own[found[1]].shown())
            listed = [batch.shown() for batch in reversed(own.values())]
            return self.reply(200, {"object": "list", "data": listed, "has_more": False})

    @property
    def key(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def reply(self, status: int, body: Any) -> None:
        self.send(status, json.dumps(body).encode())

    def send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _uploaded(kind: str, content: bytes) -> str:
    """The file in a form."""
    form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    parts: list[Message] = form.get_payload()  # type: ignore[assignment]
    return next(part.get_payload(decode=True).decode() for part in parts if part.get_filename())  # type: ignore[union-attr]
