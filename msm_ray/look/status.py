"""`msm status`: what is done, running, waiting and failed below a root, from what its last run told and from what is there."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from calendar import timegm
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from msm_ray.errors import SettingsError
from msm_ray.graph.artifacts import is_committed
from msm_ray.graph.store import ArtifactStore
from msm_ray.progress import words
from msm_ray.progress.reporter import STATUS

SILENT = 60.0
"""Seconds without a word after which a run on another machine counts as gone; it says something every 5 s."""
ORDER = ("done", "running", "waiting", "failed")


def read(root: Path) -> dict[str, Any]:
    """How a run stands: the keys of `status.json`, with `state` running, done, failed, interrupted, gone or unknown.

    gone: it ended without a word (killed, a power cut). unknown: artifacts are there, and no run has told of itself. Stages are
    looked at as they are now: one that was committed by a run's last act is done, one that was removed since is not. Raises
    SettingsError where there is nothing of ours below the root.
    """
    file = root / STATUS
    if not file.is_file():
        return _without_word(root)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read ({error}); the next run writes it anew") from None
    if content["state"] == "running" and not _lives(content, file):
        content |= {"state": "gone", "running": None, "seconds_left": None}
    stages = content["stages"].items()
    return {**content, "root": str(root), "stages": {k: _as_it_is(root, s, content["state"]) for k, s in stages}}


def _without_word(root: Path) -> dict[str, Any]:
    artifacts = ArtifactStore(root).all() if root.is_dir() else []
    if not artifacts:
        hint = (
            "give its root, the folder that stands as `root:` in it" if root.is_file() else "give an experiment's root"
        )
        raise SettingsError(f"{root}: neither a run nor artifacts there; {hint}")
    stages = {f"{a.stage}/{a.name}": {"state": "done", "folder": f"{a.stage}/{a.folder.name}"} for a in artifacts}
    empty = {"experiment": "", "command": "", "why": "", "exit_code": None, "running": None, "seconds_left": None}
    return {"root": str(root), "state": "unknown", "stages": stages, **empty}


def _lives(content: Mapping[str, Any], file: Path) -> bool:
    if content["host"] != platform.node():
        if not isinstance(file, Path):
            return file.seconds_old() < SILENT
        age = time.time() - timegm(time.strptime(content["updated"], "%Y-%m-%dT%H:%M:%SZ"))
        return age < SILENT
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(content["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - content["process_started"]) < 1
    return False


def _as_it_is(root: Path, stage: Mapping[str, Any], run: str) -> dict[str, Any]:
    there = "folder" in stage and is_committed(root / stage["folder"])
    if there and stage["state"] != "failed":
        return {**stage, "state": "done"}
    if stage["state"] == "done" or (stage["state"] == "running" and run != "running"):
        return {**stage, "state": "waiting"}
    return dict(stage)


def show(content: Mapping[str, Any]) -> str:
    """The same for people, without colors."""
    lines = [_heading(content)]
    stages = content["stages"]
    for state in ORDER:
        keys = [key for key, stage in stages.items() if stage["state"] == state]
        kinds = Counter(key.partition("/")[0] for key in keys)
        named = (
            keys if state in ("running", "failed") and len(keys) <= 6 else [f"{n} {kind}" for kind, n in kinds.items()]
        )
        lines.append(f"  {state:8}{len(keys):5}  {', '.join(named)}".rstrip())
        if state == "running" and content["running"]:
            lines.append(f"{'':17}{words.running(content['running'])}")
        lines += [f"{'':17}{key}: {stages[key].get('why', '')}" for key in keys if state == "failed"]
    if content["state"] in ("failed", "interrupted", "gone"):
        lines.append(f"  go on with: {content['command']}")
    return "\n".join(lines)


def _heading(content: Mapping[str, Any]) -> str:
    since = words.duration(content.get("seconds", 0.0))
    process = f"process {content['pid']} on {content['host']}" if "pid" in content else ""
    left = f", about {words.duration(content['seconds_left'])} left" if content["seconds_left"] is not None else ""
    why = content["why"].partition("\n")[0]
    said = {
        "running": f"running for {since} ({process}){left}",
        "done": f"done, {content.get('updated', '')}, after {since}",
        "failed": f"failed with exit code {content['exit_code']}, {content.get('updated', '')}, after {since}: {why}",
        "interrupted": f"interrupted, {content.get('updated', '')}, after {since}",
        "gone": f"ended without a word (killed?) after {since}; last heard of {content.get('updated', '')}, {process}",
        "unknown": "no run has told how it goes here",
    }[content["state"]]
    return f"{content['experiment'] or 'artifacts'} in {content['root']}: {said}"
