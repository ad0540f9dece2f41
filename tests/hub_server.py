"""A hub on 127.0.0.1 with one data set: as much of the Hugging Face hub's answers as fetching files takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

COMMIT = "66af4edccfb6626cfb24fc40458e3e547eb6d04c"


@contextmanager
def hub_with(name: str, files: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Serve a data set, and have `huggingface_hub` ask here; yields the paths that are asked for, as they come."""
    import huggingface_hub.constants as constants

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            asked.append(self.path)
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            if self.path.startswith(f"/api/datasets/{name}/tree/"):
                tree = [{"type": "file", "path": file, "size": len(files[file]), "oid": "0" * 40} for file in files]
                self._send(200, json.dumps(tree).encode(), with_body)
            elif self.path.startswith(f"/api/datasets/{name}"):
                listed = [{"rfilename": file} for file in files]
                self._send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": listed}).encode(), with_body)
            elif (file := self.path.partition(f"/datasets/{name}/resolve/{COMMIT}/")[2]) in files:
                self._send(200, files[file], with_body)
            else:
                self._send(404, b"{}", with_body)

        def _send(self, status: int, body: bytes, with_body: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()[:40]}"')
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}"
    template = here + "/{repo_id}/resolve/{revision}/{filename}"
    try:
        with (
            patch.object(constants, "ENDPOINT", here),
            patch.object(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template),
            patch.object(constants, "HF_HUB_OFFLINE", False),
        ):
            yield asked
    finally:
        server.shutdown()
        server.server_close()
