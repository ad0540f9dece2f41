"""Whose Ray Serve it is: a cluster has one, and one that a killed run has left there must never stop the next.

Controller, proxy and replicas of Ray Serve are detached actors: on a cluster they outlive a driver that is killed. Who
serves therefore holds a named actor that is not detached: its name can be taken once, and it ends with its driver. An
application of ours that nobody holds is what a dead run has left; it is taken down. What others serve is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from msm_ray.errors import PreflightError, StageError

APP = "msm-ray-arms"
NAMESPACE, HOLDER = "msm_ray", "who-serves"
ENDING_SECONDS = 20
"""How long a name that is taken is asked for again: a driver that has just been killed may still be being cleared away."""


@contextmanager
def hold_serve(what: str) -> Iterator[None]:
    """Inside, Ray Serve on the connected cluster is ours alone, and it is gone afterwards. what: who we are, for others.

    Raises PreflightError where another run serves on this cluster, or someone else's application runs there.
    """
    import ray
    from ray import serve

    holder = _take_name(what)
    try:
        _clear(serve.status())
        try:
            yield
        finally:
            serve.shutdown()
    finally:
        ray.kill(holder)


def _take_name(what: str) -> Any:
    import ray

    class Holder:
        def __init__(self, what: str) -> None:
            self._what = what

        def who(self) -> str:
            return self._what

    kind: Any = ray.remote(num_cpus=0)(Holder)
    kind = kind.options(name=HOLDER, namespace=NAMESPACE)
    until = time.monotonic() + ENDING_SECONDS
    while True:
        try:
            holder = kind.remote(what)
        except ValueError as taken:
            if time.monotonic() > until:
                raise PreflightError(
                    f"{_who_holds() or 'another run'} serves on this Ray cluster, which has one Ray Serve. Wait for its end, or "
                    "use another cluster."
                ) from taken
            time.sleep(1)
        else:
            ray.get(holder.who.remote())
            return holder


def _who_holds() -> str | None:
    """Who says to serve here; None where nobody is left to say it."""
    import ray
    from ray.exceptions import RayError

    with suppress(ValueError, RayError):
        return str(ray.get(ray.get_actor(HOLDER, namespace=NAMESPACE).who.remote(), timeout=10))
    return None


def _clear(status: Any) -> None:
    """Take down what nobody holds any more. status: `serve.status()`."""
    from ray import serve

    others = [name for name in status.applications if name != APP]
    if others:
        raise PreflightError(
            f"Ray Serve already runs {', '.join(others)} on this Ray cluster. Take it down (`serve shutdown`) or use another "
            "cluster."
        )
    if status.applications or status.proxies:  # with other HTTP options than ours, if it was started for others
        if status.applications:
            print("msm: taking down what a run that has ended left serving on this cluster", flush=True)
        serve.shutdown()
        if serve.status().applications:
            raise StageError("Ray Serve of an ended run does not go down; `serve shutdown -y` on the cluster ends it")
