"""Asking our own addresses, which no proxy of the environment may stand between."""

from __future__ import annotations

import json
import os
import urllib.request

from msm_ray.errors import StageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def models_at(address: str) -> set[str]:
    """The names served at an address, asked past any proxy. Raises StageError where nothing answers."""
    past_any_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with past_any_proxy.open(f"{address}/models", timeout=30) as reply:
            return {model["id"] for model in json.load(reply)["data"]}
    except (OSError, ValueError, KeyError) as error:
        raise StageError(f"no OpenAI-compatible server at {address}: {error}. Start it, or look at its log.") from error


def go_past_proxy(*hosts: str) -> None:
    """From now on, this process and what it starts ask these hosts directly, whatever `http_proxy` says."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = beside_proxy(os.environ.get(name, ""), *hosts)


def beside_proxy(given: str, *hosts: str) -> str:
    """A NO_PROXY with these hosts and loopback added to what it says."""
    named = [word.strip() for word in given.split(",") if word.strip()]
    return ",".join(dict.fromkeys([*named, *LOOPBACK, *hosts]))
