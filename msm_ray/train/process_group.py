"""How the ranks of a training find each other: a store that listens on its node's own address, nowhere else.

Ray Train lets torch open the store by host name and port, and torch then listens on every address of the machine and asks
nobody for a key. Here rank 0 binds the address itself, loopback on one machine, and hands torch the socket.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import ray
from ray.train.torch import TorchConfig

from msm_ray.ray_private import TorchBackend, set_torch_distributed_env_vars

_bound: socket.socket | None = None
"""Rank 0's socket between being bound and becoming the store's."""


@dataclass
class OwnAddressConfig(TorchConfig):
    """Ray Train's torch configuration, with `OwnAddress` as its way to set up the process group."""

    @property
    def backend_cls(self) -> type[TorchBackend]:
        """The class that Ray Train calls as a worker group starts and ends."""
        return OwnAddress


class OwnAddress(TorchBackend):
    """Sets up torch.distributed over a store whose socket rank 0 has bound to its node's address."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Called by Ray Train when all workers of a group are there."""
        address, port = worker_group.execute_single(0, bind)
        worker_group.execute(set_torch_distributed_env_vars)
        size = len(worker_group)
        how = {"backend": backend_config.backend, "size": size, "address": address, "port": port}
        joining = [
            worker_group.execute_single_async(rank, join, world_rank=rank, seconds=backend_config.timeout_s, **how)
            for rank in range(size)
        ]
        ray.get(joining)


def bind() -> tuple[str, int]:
    """Bind a free port of this node's own address for the store; on rank 0."""
    global _bound  # noqa: PLW0603  the next call in this process takes it
    address = ray.util.get_node_ip_address()
    _bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    _bound.bind((address, 0))
    _bound.listen(1024)
    return address, _bound.getsockname()[1]


def join(world_rank: int, size: int, backend: str, address: str, port: int, seconds: int) -> None:
    """Join the process group; on each rank. seconds: after which an operation that waits for others is an error."""
    import torch.distributed as dist

    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, str(port)  # DeepSpeed reads them
    if carrier := interface_of(ray.util.get_node_ip_address()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", carrier)
    timeout = timedelta(seconds=seconds)
    listening = _bound.detach() if world_rank == 0 and _bound is not None else None
    store = dist.TCPStore(
        address, port, size, world_rank == 0, timeout, wait_for_workers=False, master_listen_fd=listening
    )
    dist.init_process_group(backend, store=store, rank=world_rank, world_size=size, timeout=timeout)


def interface_of(address: str) -> str | None:
    """The network interface that carries an address of this machine; None where none does.

    gloo would listen on whatever the machine's name resolves to.
    """
    for name, carried in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in carried):
            return name
    return None
