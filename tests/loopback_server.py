"""A small OpenAI-like server on 127.0.0.1 that counts what it is asked and can misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback(ThreadingHTTPServer):
    """mode: "answer", "error" (status 500), "hang", or "empty" (no text). asked counts the questions by their text.

    name: the model that replies say they are from, if it is not the one that was asked.
    refuse: for a question, the status and the body that it gets instead of an answer; None for most.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mode: str = "answer", seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mode, self.seconds, self.text = mode, seconds, "i will wait ."
        self.name = ""
        self.refuse: Callable[[str], tuple[int, dict] | None] = lambda question: None
        self.asked: Counter[str] = Counter()
        self.last: dict = {}
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def loopback(mode: str = "answer", seconds: float = 0.0) -> Iterator[Loopback]:
    server = Loopback(mode, seconds)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": [{"id": "base", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.last = body
            self.server.asked[body["messages"][-1]["content"]] += 1
        time.sleep(60 if self.server.mode == "hang" else self.server.seconds)
        if refused := self.server.refuse(body["messages"][-1]["content"]):
            self._reply(*refused)
            return
        if self.server.mode == "error":
            self._reply(500, {"error": {"message": "the engine is dead", "type": "server_error", "code": 500}})
            return
        text = "" if self.server.mode == "empty" else self.server.text
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": self.server.name or body["model"],
            "choices": [choice],
            "usage": usage,
        }
        self._reply(200, reply)

    def _reply(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
