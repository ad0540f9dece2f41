"""Where the arms are asked, by whom, and with which key: loopback on one machine, the head node's address on several.

Ray Serve's proxy stands on the head node alone. On one machine it listens on loopback; askers on other nodes could not
reach that, so on a cluster of several nodes it listens on the head node's own address (never on all of them), and since
that is open to a network, it requires a key: that of `MSM_SERVE_KEY`, else one that the run makes.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import urllib.request
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from msm_ray.errors import PreflightError, StageError
from msm_ray.placement.settings import ServeSettings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANY = ("0.0.0.0", "::")
"""Hosts that mean every address of a machine."""
KEY = "MSM_SERVE_KEY"
"""The environment variable with the key that the arms' address requires."""


@dataclass(frozen=True)
class Listening:
    """host and port: what the proxy binds; reached_at: the host that others ask; key: what they have to show, if any."""

    host: str
    port: int
    reached_at: str
    key: str | None

    @property
    def address(self) -> str:
        """The base of the OpenAI routes."""
        return f"http://{f'[{self.reached_at}]' if ':' in self.reached_at else self.reached_at}:{self.port}/v1"


def listen(settings: ServeSettings, nodes_max: int | None, wanted: int = 0) -> Listening:
    """Where this Ray's proxy is to listen. nodes_max: nodes that the cluster may grow to.

    wanted: a port to take where the settings name none and it is free.

    Raises PreflightError where the port is in use on the head node, or a host that is open to others is set for a cluster
    whose head can't bind it.
    """
    head = _head()
    host = settings.host or (head["NodeManagerAddress"] if _several(nodes_max) else LOOPBACK[0])
    port = _port_on(head, host, settings.port, wanted)
    given = os.environ.get(KEY) or None
    key = given if is_loopback(host) else given or secrets.token_urlsafe(24)
    return Listening(host, port, head["NodeManagerAddress"] if host in ANY else host, key)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def take_port(host: str, port: int) -> int:
    """The port itself if it is free on this machine, a free one for 0; `PreflightError` names a port that is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PreflightError(
                f"cannot serve on {host}:{port}: {error.strerror}. Stop what uses it, or set "
                "cluster.serving.port to another port (0 takes a free one), or cluster.serving.host."
            ) from error
        return int(probe.getsockname()[1])


def _several(nodes_max: int | None) -> bool:
    import ray

    return sum(node["Alive"] for node in ray.nodes()) > 1 or (nodes_max or 1) > 1


def _head() -> dict[str, Any]:
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return next((node for node in alive if "node:__internal_head__" in node["Resources"]), alive[0])


def _free_port(host: str, port: int, wanted: int) -> int:
    """The port that is set; where none is, the wanted one if it is free, else any."""
    with suppress(PreflightError):
        return take_port(host, port or wanted)
    return take_port(host, port)


def _port_on(head: dict[str, Any], host: str, port: int, wanted: int) -> int:
    """The port is looked for where the proxy will be: a job's driver need not run on the head node."""
    import ray
    from ray.exceptions import RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if head["NodeID"] == ray.get_runtime_context().get_node_id():
        return _free_port(host, port, wanted)
    there = NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
    taking = ray.remote(_free_port).options(num_cpus=0, scheduling_strategy=there)
    try:
        return int(ray.get(taking.remote(host, port, wanted)))
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, PreflightError) else error from None


def models_at(address: str, key: str | None = None) -> set[str]:
    """The names served at an address, asked past any proxy. Raises StageError where nothing answers."""
    past_any_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{address}/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with past_any_proxy.open(request, timeout=30) as reply:
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
