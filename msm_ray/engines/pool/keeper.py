"""The actor that keeps the engines of one model: as many as are wanted, between none and the most that may be.

A dead engine is replaced, a bounded number of times; an idle one gives its place back. Placement groups are what it asks Ray
for, so that an autoscaler adds nodes for engines that have no room yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from msm_ray.engines.pool.failing import told
from msm_ray.placement.asks import Placement
from msm_ray.placement.room import no_room

LONGEST_WAIT = 2.0
"""Seconds after which a client that asks for changes is told that there are none: how old a demand can be."""
SILENT_SECONDS = 120.0
"""A client that is not heard of for so long is gone."""
LOOK_SECONDS = 0.5
LEAVE_SECONDS = 20.0
"""What an engine has to let go of its model; then its process is ended."""


@dataclass(frozen=True)
class Recipe:
    """How an engine is started. actor: its class, whose constructor takes model, arguments (with a seed) and ends.

    room: what the first engines ask for; environment: of an engine's processes; least, most: engines, while there is work;
    each: rows that one should have at the same time; deaths: engines that may die before the pool gives up; idle_seconds: after
    so long in which fewer would have done, those that are too many end; seed: of the first engine; every later start has
    another, or two engines would draw the same.
    """

    actor: type
    model: str
    arguments: Mapping[str, Any]
    ends: tuple[int, ...]
    room: Placement
    environment: Mapping[str, str]
    least: int
    most: int
    each: int
    deaths: int
    idle_seconds: float
    seed: int


@dataclass
class _Client:
    asked: int = 0
    heard: float = field(default_factory=time.monotonic)


@dataclass
class _Engine:
    handle: Any
    group: Any
    since: float = field(default_factory=time.monotonic)


class Keeper:
    """Starts engines, watches them and says which there are."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.up: dict[str, _Engine] = {}
        self.starting: dict[str, asyncio.Task[None]] = {}
        self.loading: set[str] = set()  # of those that start: who has room
        self.without: float | None = None  # since when engines are wanted and none has room
        self.clients: dict[str, _Client] = {}
        self.version, self.begun, self.deaths = 0, 0, 0
        self.failed = ""
        self.worked = time.monotonic()
        self.changed = asyncio.Event()
        self.looking: asyncio.Task[None] | None = None

    async def engines(self, client: str, asked: int, known: int) -> tuple[int, dict[str, Any], str]:
        """(version, engines that are up by name, why there will be none), when the version is not the known one any more.

        asked: rows that the client waits for, or would like to ask.
        """
        self.clients[client] = _Client(asked)
        self.looking = self.looking or asyncio.get_running_loop().create_task(self._look())
        if self.version == known:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._change(), LONGEST_WAIT)
        return self.version, {name: engine.handle for name, engine in self.up.items()}, self.failed

    async def leaves(self, client: str) -> None:
        """A client asks no more."""
        self.clients.pop(client, None)
        for engine in self.up.values():
            engine.handle.drop.remote(client)

    async def died(self, name: str, why: str) -> None:
        """A client heard from an engine that it is dead."""
        if engine := self.up.pop(name, None):
            await self._let_go(engine, hard=True)
            self._note_death(why)

    async def counts(self) -> dict[str, int]:
        """Engines: `up`, `starting`, `begun` since the first, and `deaths`."""
        return {"up": len(self.up), "starting": len(self.starting), "begun": self.begun, "deaths": self.deaths}

    async def end(self) -> None:
        """Let all engines go."""
        if self.looking:
            self.looking.cancel()
        for task in self.starting.values():
            task.cancel()
        await asyncio.gather(*self.starting.values(), return_exceptions=True)
        gone, self.up = list(self.up.values()), {}
        await asyncio.gather(*(self._let_go(engine) for engine in gone))

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    def _tell(self) -> None:
        self.version += 1
        self.changed.set()

    async def _look(self) -> None:
        """Once in a while: as many engines as are wanted."""
        try:
            while True:
                await self._look_once()
                await asyncio.sleep(LOOK_SECONDS)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # nobody else would ever hear of it
            self.failed = f"the keeper of the engines of {self.recipe.model} failed: {type(error).__name__}: {error}"
            self._tell()

    async def _look_once(self) -> None:
        for name in [name for name, one in self.clients.items() if time.monotonic() - one.heard > SILENT_SECONDS]:
            await self.leaves(name)
        wanted = self._wanted()
        while not self.failed and len(self.up) + len(self.starting) < wanted:
            self._begin()
        self._look_for_room(wanted)
        if wanted < len(self.up):
            await self._end_idle(len(self.up) - wanted)

    def _look_for_room(self, wanted: int) -> None:
        """Give up where no engine has had room for so long: the room that the first had can go with its node.

        Where one has, the work goes on with it, and the others' demands stay for an autoscaler to see.
        """
        now, room = time.monotonic(), self.recipe.room
        if not wanted or self.up or self.loading:
            self.without = None
            return
        self.without = self.without or now
        if now - self.without > room.minutes * 60 and not self.failed:
            self.failed = no_room(replace(room, count=1, beside=()))
            for task in self.starting.values():
                task.cancel()  # nothing is to start in room that comes later
            self._tell()

    def _wanted(self) -> int:
        """Engines for what is asked; those that are there stay for a while when fewer would do."""
        asked = sum(client.asked for client in self.clients.values())
        needed = max(self.recipe.least, min(self.recipe.most, math.ceil(asked / self.recipe.each))) if asked else 0
        now, there = time.monotonic(), len(self.up) + len(self.starting)
        if needed >= there:
            self.worked = now
        return there if needed < there and now - self.worked < self.recipe.idle_seconds else needed

    async def _end_idle(self, most: int) -> None:
        """End engines that have nothing to do, the youngest first, at most so many."""
        for name, engine in sorted(self.up.items(), key=lambda item: -item[1].since)[:most]:
            try:
                busy = await engine.handle.unfinished.remote()
            except Exception as error:
                await self.died(name, told(error))
                continue
            if not busy:
                self.up.pop(name, None)
                self._tell()
                await self._let_go(engine)

    def _begin(self) -> None:
        self.begun += 1
        name = f"engine-{self.begun}"
        self.starting[name] = asyncio.get_running_loop().create_task(self._start(name, self.begun))

    async def _start(self, name: str, number: int) -> None:
        """Wait for room, start an engine there, and tell when it can answer."""
        import ray
        from ray.util import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        recipe = self.recipe
        bundles = recipe.room.bundles
        group = placement_group([dict(bundle) for bundle in bundles], strategy="STRICT_PACK")
        engine = _Engine(None, group)
        try:
            await group.ready()
            self.loading.add(name)
            first = bundles[0]
            actor: Any = ray.remote(recipe.actor)
            engine.handle = actor.options(
                num_cpus=first.get("CPU", 0),
                num_gpus=first.get("GPU", 0) if len(bundles) == 1 else 0,  # several: vLLM takes them itself
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
                ),
                runtime_env={"env_vars": dict(recipe.environment)},
                max_concurrency=100_000,
                max_restarts=0,
            ).remote(recipe.model, {**recipe.arguments, "seed": seed_of(recipe.seed, number)}, recipe.ends)
            await engine.handle.ready.remote()
        except asyncio.CancelledError:
            await self._let_go(engine, hard=True)
            raise
        except Exception as error:
            await self._let_go(engine, hard=True)
            self._note_death(told(error))
        else:
            self.up[name] = engine
            self._tell()
        finally:
            self.starting.pop(name, None)
            self.loading.discard(name)

    def _note_death(self, why: str) -> None:
        self.deaths += 1
        if self.deaths > self.recipe.deaths:
            self.failed = (
                f"{self.deaths} engines of {self.recipe.model} died, more than cluster.generation.engine_deaths = "
                f"{self.recipe.deaths}; the last: {why}"
            )
        self._tell()

    async def _let_go(self, engine: _Engine, hard: bool = False) -> None:
        """End an engine's processes and give its place back."""
        import ray
        from ray.util import remove_placement_group

        if engine.handle is not None:
            if not hard:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(engine.handle.end.remote(), LEAVE_SECONDS)
            ray.kill(engine.handle)
        remove_placement_group(engine.group)


def seed_of(seed: int, number: int) -> int:
    """The seed of an engine: the first has the one that is asked for, every later start another (31 bits)."""
    if number == 1:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big") >> 1
