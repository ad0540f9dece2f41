"""Who does the work on pieces of rows: this process, or Ray's workers. Functions, arguments and results are the same.

What a function gives stays where it was made until somebody asks: with Ray results are references, here the values themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, Protocol

from msm_ray import ray_private
from msm_ray.errors import MsmError

WORTH_TASKS, WORTH_RAY = 8 * 2**20, 64 * 2**20
"""Bytes of Parquet from which Ray's workers are sooner done than this process alone: where Ray runs, and where it would have to
start, which takes about ten seconds (about 1,500 and 12,000 documents of 3,000 tokens)."""
FEWEST_BEGUN = 64
"""Pieces that are with Ray at a time, where the cluster has few CPUs; else two a CPU."""
TRIES = 3
"""Times that a piece is given to another worker where one dies."""


class Workers(Protocol):
    """Where functions run."""

    def share(self, value: Any) -> Any:
        """A value that many calls get."""

    def call(self, function: Callable[..., Any], *args: Any, results: int = 1) -> Any:
        """One result, or so many of a function that gives as many; they may be arguments of further calls."""

    def each(
        self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], results: int = 1
    ) -> Iterator[tuple[int, list[Any]]]:
        """(number of the job, its results) as they are done, the first result fetched."""

    def get(self, results: Sequence[Any]) -> list[Any]:
        """The values of results. Raises what the function raised."""

    def fetch(self, result: Any) -> Any:
        """The value of one result: for a function that is handed many, and takes one after the other."""


class Here:
    """This process."""

    def share(self, value: Any) -> Any:
        """The value itself."""
        return value

    def call(self, function: Callable[..., Any], *args: Any, results: int = 1) -> Any:
        """Done at once."""
        return function(*args)

    def each(
        self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], results: int = 1
    ) -> Iterator[tuple[int, list[Any]]]:
        """One after the other."""
        for number, job in enumerate(jobs):
            done = function(*job)
            yield number, list(done) if results > 1 else [done]

    def get(self, results: Sequence[Any]) -> list[Any]:
        """The values themselves."""
        return list(results)

    def fetch(self, result: Any) -> Any:
        """The value itself."""
        return result


HERE = Here()


class OnRay:
    """Ray's workers, a CPU each. A piece of a worker that dies is given to another."""

    def share(self, value: Any) -> Any:
        """Put into Ray's store once."""
        import ray

        return ray.put(value)

    def call(self, function: Callable[..., Any], *args: Any, results: int = 1) -> Any:
        """Begun, and not waited for."""
        return _remote(function).options(num_returns=results).remote(*args)

    def each(
        self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], results: int = 1
    ) -> Iterator[tuple[int, list[Any]]]:
        """As many begun as keep all busy; those that are done first come first."""
        import ray

        most = max(FEWEST_BEGUN, 2 * int(ray.cluster_resources().get("CPU", 0)))
        waiting, begun = iter(enumerate(jobs)), dict[Any, tuple[int, list[Any]]]()
        while True:
            for number, job in islice(waiting, most - len(begun)):
                given = self.call(function, *job, results=results)
                refs = [given] if results == 1 else list(given)
                begun[refs[0]] = number, refs
            if not begun:
                return
            done, _ = ray.wait(list(begun), num_returns=1)
            number, refs = begun.pop(done[0])
            yield number, [*self.get(done), *refs[1:]]

    def get(self, results: Sequence[Any]) -> list[Any]:
        """Waited for. Raises our own errors as the worker raised them."""
        import ray

        try:
            return list(ray.get(list(results)))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MsmError):
                raise error.cause from None
            raise

    def fetch(self, result: Any) -> Any:
        """Waited for, in a worker."""
        (value,) = self.get([result])
        return value


def workers_for(size: int, need_ray: Callable[[], None]) -> Workers:
    """Ray's workers where that is sooner done, this process otherwise, or where no CPU of Ray's is free.

    size: bytes of the Parquet files; need_ray: starts Ray.
    """
    if size < (WORTH_TASKS if _is_up() else WORTH_RAY):
        return Here()
    need_ray()
    return OnRay() if _is_up() and _has_room() else Here()


def _is_up() -> bool:
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


def _has_room() -> bool:
    """Whether a task can run now: engines that stay may hold every CPU."""
    return ray_private.whole_cpus_free() >= 1


@cache
def _remote(function: Callable[..., Any]) -> Any:
    import ray

    return ray.remote(num_cpus=1, max_retries=TRIES)(function)
