"""A real S3 server on loopback (moto's), and a proxy before it that does what networks and services do."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEYS = {
    "AWS_ACCESS_KEY_ID": "key-of-tests",
    "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BUCKET = "lab"


@dataclass
class Faults:
    """What goes wrong now. slow: seconds before each answer; refuse_every: each n-th request meets 503; cut: uploads to a name
    that contains this, so many times, lose their connection in the middle; expires_after: requests until credentials expire;
    skewed: the server finds this machine's clock off."""

    slow: float = 0.0
    refuse_every: int = 0
    cut: str = ""
    cuts: int = 0
    expires_after: int | None = None
    skewed: bool = False
    requests: int = 0
    refused: int = 0
    was_cut: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def verdict(self, path: str, method: str) -> str:
        """What becomes of the next request: "" (passed on), cut, or the code of an error."""
        with self.lock:
            self.requests += 1
            if self.expires_after is not None and self.requests > self.expires_after:
                return "ExpiredToken"
            if self.skewed:
                return "RequestTimeTooSkewed"
            if self.cut and method == "PUT" and self.cut in path and self.was_cut < self.cuts:
                self.was_cut += 1
                return "cut"
            if self.refuse_every and self.requests % self.refuse_every == 0:
                self.refused += 1
                return "SlowDown"
            return ""


STATUS = {"ExpiredToken": 400, "RequestTimeTooSkewed": 403, "SlowDown": 503}


@dataclass(frozen=True)
class S3:
    """A server that runs. url: the proxy's, or moto's own where nothing is to go wrong."""

    url: str
    own_url: str
    faults: Faults


def _handler(port: int, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            verdict = faults.verdict(self.path, self.command)
            if verdict == "cut":
                self.rfile.read(length // 2)
                self.close_connection = True
                self.connection.close()
                return
            body = self.rfile.read(length) if length else self._chunks()
            time.sleep(faults.slow)
            if verdict:
                said = (
                    f"<?xml version='1.0'?><Error><Code>{verdict}</Code><Message>by the test</Message></Error>".encode()
                )
                self._answer(STATUS[verdict], [("Content-Type", "application/xml")], said)
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port)
            headers = {
                k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "connection", "expect")
            }
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in ("transfer-encoding", "connection")]
            self._answer(answer.status, kept, content)
            upstream.close()

        def _chunks(self) -> bytes | None:
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return None
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return found

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if self.command == "HEAD" or name.lower() != "content-length":
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

        def log_message(self, *args: Any) -> None:
            pass

    return Proxy


@contextlib.contextmanager
def running(*, proxied: bool = True) -> Iterator[S3]:
    """moto's server with a bucket in it, and credentials and address in the environment of this process and those it starts."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    port = moto.get_host_and_port()[1]
    faults = Faults()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, faults))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    own = f"http://127.0.0.1:{port}"
    before = dict(os.environ)
    url = f"http://127.0.0.1:{proxy.server_port}" if proxied else own
    os.environ.update(KEYS | {"AWS_ENDPOINT_URL": url})
    try:
        request = http.client.HTTPConnection("127.0.0.1", port)
        request.request("PUT", f"/{BUCKET}")
        request.getresponse().read()
        yield S3(url, own, faults)
    finally:
        os.environ.clear()
        os.environ.update(before)
        proxy.shutdown()
        proxy.server_close()
        moto.stop()
