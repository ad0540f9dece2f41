"""An OpenAI-like address on 127.0.0.1 whose every reply a test decides: by the key, the body and how often it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

READ, WRITTEN = 5, 4
"""Tokens that it says of every answer."""


@dataclass(frozen=True)
class Request:
    """number: of the requests with the same question, from 1; of_key: of those with its key; at: seconds of a monotonic clock."""

    key: str
    body: dict[str, Any]
    number: int
    of_key: int
    at: float

    @property
    def question(self) -> str:
        return self.body["messages"][-1]["content"]


@dataclass(frozen=True)
class Reply:
    """status: 0 for a connection that ends without one."""

    status: int = 200
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


DROPPED = Reply(0)
Says = Callable[[Request], Reply | None]
"""What a request gets; None: an answer."""


def refusal(status: int, message: str, headers: dict[str, str] | None = None, **more: str) -> Reply:
    return Reply(status, {"error": {"message": message, **more}}, headers or {})


def answer_to(body: dict[str, Any], text: str = "yes") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


class EndpointServer(ThreadingHTTPServer):
    """says: what a request gets; seconds: latency; trickles: answers come a byte at a time and never end."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, says: Says, seconds: float = 0.0, trickles: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says, self.seconds, self.trickles = says, seconds, trickles
        self.requests: list[Request] = []
        self.answered: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def endpoint(says: Says = lambda request: None, **more: Any) -> Iterator[EndpointServer]:
    server = EndpointServer(says, **more)
    with serving(server):
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EndpointServer

    def do_POST(self) -> None:
        server, at = self.server, time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with server.lock:
            number = 1 + sum(each.question == body["messages"][-1]["content"] for each in server.requests)
            of_key = 1 + sum(each.key == key for each in server.requests)
            request = Request(key, body, number, of_key, at)
            server.requests.append(request)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        time.sleep(server.seconds)
        reply = server.says(request) or Reply(200, answer_to(body))
        with server.lock:
            server.in_flight -= 1
            if reply.status == 200:
                server.answered.append(request.question)
        if server.trickles:
            self._trickle()
        elif reply is DROPPED:
            self.close_connection = True
        else:
            self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        content = json.dumps(reply.body).encode()
        self.send_response_only(reply.status)  # without a Date, which some replies give themselves
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **reply.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        for _ in range(600):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        pass
