"""Which sockets a process and all below it listen on, and whether a stranger's call to one is answered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import psutil


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of a process (by its command line's name)."""

    process: str
    address: str
    port: int

    @property
    def private(self) -> bool:
        """Whether only this machine reaches it."""
        return ip_address(self.address.removeprefix("::ffff:")).is_loopback


def listeners(root: psutil.Process) -> set[Listener]:
    """Every listening TCP socket of a process and of all that it has started.

    The machine's sockets are read once: asked for its own, each process would read all of them.
    """
    ours, found = {process.pid: process for process in below(root)}, set()
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.pid in ours:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                name = " ".join(ours[one.pid].cmdline())[:120] or ours[one.pid].name()
                found.add(Listener(name, one.laddr.ip, one.laddr.port))
    return found


def below(root: psutil.Process) -> Iterator[psutil.Process]:
    """A process and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        yield root
        yield from root.children(recursive=True)


METHODS = ("/ray.serve.ASGIService/HandleRequest", "/ray.rpc.CoreWorkerService/GetCoreWorkerStats")
"""What the two kinds of gRPC ports of a Serve replica do for who has Ray's token: Serve's own, and that of any Ray worker."""


def refuses_strangers(port: int) -> bool:
    """Whether a port refuses a call that shows no token, as Ray's ports do in so many words."""
    return answer_to_strangers(port) == "UNAUTHENTICATED"


def answer_to_strangers(port: int) -> str:
    """gRPC's status for calls without a token to what a port of Ray's does."""
    import grpc

    status = "answered"
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in METHODS:
            try:
                channel.unary_unary(method)(b"", timeout=60)
            except grpc.RpcError as error:
                status = error.code().name
                if status != "UNIMPLEMENTED":
                    return status
            else:
                return "answered"
    return status
