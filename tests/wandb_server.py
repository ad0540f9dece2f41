"""A server on loopback that keeps what the real wandb sends it: no W&B, only as many of its answers as that takes."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PROJECT = {
    "id": "p", "name": "msm_ray", "internalId": "1", "entity": {"id": "e", "name": "lab"}, "entityName": "lab",
    "createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": None, "__typename": "Project",
}  # fmt: skip


@dataclass
class Kept:
    """What was sent. runs: name -> {history, summary, group, jobType}; views: id -> variables of the newest save."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    saves: int = 0
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""
    answers: threading.Event = field(default_factory=threading.Event)
    """Cleared, nothing is answered."""


@contextlib.contextmanager
def serving() -> Iterator[Kept]:
    """A server at `url`, until the block ends."""
    kept = Kept()
    kept.answers.set()
    handler = type("Handler", (_Handler,), {"kept": kept})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kept
    finally:
        kept.answers.set()
        server.shutdown()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept: Kept

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.kept.answers.wait()
        if self.path.endswith("/file_stream"):
            self._stream(self.kept.runs[self.path.split("/")[-2]], json.loads(body))
        elif self.path.endswith("/graphql"):
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            name = found[1] if found else ""
            self.kept.asked[name] += 1
            self._reply({"data": self._data(name, asked.get("variables") or {})})
        else:
            self.kept.files.append(body.decode("utf-8", "replace"))
            self._reply({})

    do_PUT = do_GET = do_POST

    def _stream(self, run: dict[str, Any], sent: dict[str, Any]) -> None:
        files = sent.get("files") or {}
        if history := files.get("wandb-history.jsonl"):
            run["history"][history["offset"] :] = [json.loads(line) for line in history["content"]]
        if summary := files.get("wandb-summary.json"):
            run["summary"] = json.loads(summary["content"][-1])
        self._reply({"exitcode": None, "limits": {}})

    def _data(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        kept = self.kept
        if name == "RunResumeStatus":
            return {"model": {**PROJECT, "bucket": self._resumed(given["name"])}}
        if name == "UpsertBucket":
            new = {"history": [], "summary": {}, "group": given["groupName"], "jobType": given["jobType"]}
            inserted = given["name"] not in kept.runs
            kept.configs.append(given["config"])
            kept.runs.setdefault(given["name"], new)
            bucket = {**_bucket(given["name"]), "displayName": given["displayName"] or given["name"]}
            return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{kept.url}/file"} for file in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifact":
            kept.artifacts.append(given["input"])
            last = {"id": "s", "latestArtifact": None}
            made = {"id": given["input"]["artifactCollectionName"], "state": "COMMITTED", "artifactSequence": last}
            return {"createArtifact": {"artifact": made}}
        if name == "UseArtifact":
            kept.used.append(given["input"]["artifactID"])
            return {"useArtifact": {"artifact": {"id": given["input"]["artifactID"]}}}
        if name in ("upsertView", "UpsertView2"):
            return self._saved(given)
        viewer = {"id": "u", "entity": "lab", "username": "me", "flags": "{}", "admin": False, "teams": {"edges": []}}
        return {
            "Viewer": {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}},
            "GetProjects": {
                "models": {"edges": [{"node": PROJECT}], "pageInfo": {"endCursor": None, "hasNextPage": False}}
            },
            "ProjectInternalId": {"project": PROJECT},
            "CreateCustomChart": {"createCustomChart": {"chart": {"id": "lab/msm-ray-rates"}}},
            "ArtifactType": {"project": None},
        }.get(name, {"serverInfo": {"features": []}})

    def _resumed(self, name: str) -> dict[str, Any] | None:
        if name not in self.kept.runs:
            return None
        run = self.kept.runs[name]
        history = run["history"]
        return {
            **_bucket(name), "summaryMetrics": json.dumps(run["summary"]), "historyLineCount": len(history),
            "historyTail": json.dumps([json.dumps(history[-1])] if history else []), "eventsTail": "[]",
            "eventsLineCount": 0, "logLineCount": 0, "wandbConfig": json.dumps({"t": 1}), "tags": [],
        }  # fmt: skip

    def _saved(self, given: dict[str, Any]) -> dict[str, Any]:
        self.kept.saves += 1
        number = given.get("id") or f"view{len(self.kept.views)}"
        self.kept.views[number] = given
        view = {key: given.get(key) for key in ("type", "name", "displayName", "description", "spec")}
        when = {"createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}
        return {
            "upsertView": {"inserted": not given.get("id"), "view": {"id": number, "project": PROJECT, **view, **when}}
        }

    def _reply(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


def _bucket(name: str) -> dict[str, Any]:
    return {
        "id": f"run-{name}", "name": name, "displayName": name, "description": "", "config": "{}", "sweepName": None,
        "jobType": "", "project": PROJECT, "historyLineCount": 0,
    }  # fmt: skip
