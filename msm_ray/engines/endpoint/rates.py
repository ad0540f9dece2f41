"""Which key a request goes out with, and when: rates and refusals hold for all askers of an address together.

One object for all of them, as a Ray actor (`sharing`), and not a share of the rate for each asker: shares would have to be cut
anew whenever the number of askers changes, an asker without work would leave its share unused, and a refusal that one of them
met would be news to the others.

Rates are those of a key: who gives several does so because each has limits of its own. (Keys of one organization that share a
limit are given a part of it each, by the setting.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msm_ray.engines.endpoint.waits import pause

SLACK = 0.05
"""Seconds that a late request may bring forward the next; the pace is so much slower that no minute has more than its number."""
LONGEST_LOOK = 0.2
"""Seconds after which whoever waits looks again whether a key is free earlier."""
NOBODY_ANSWERED = 300.0
"""Seconds of refusals without one answer between them after which a request gives up."""
NO_KEY = -1

Permit = tuple[int, int]
"""The number of the key (or NO_KEY), and which of its waves of requests this is one of: those between two pauses."""


class Pace:
    """So much a minute, evenly: no 60 seconds begin more than that (of tokens: than that and one request's)."""

    def __init__(self, per_minute: float | None):
        self.each = 60.001 / per_minute * (1 + SLACK / 60) if per_minute else 0.0
        self.free = float("-inf")

    def take(self, amount: float, now: float) -> None:
        """Something begins now."""
        if self.each:
            self.free = max(self.free, now - SLACK) + amount * self.each

    def give_back(self, amount: float) -> None:
        """It was less than was taken (below 0: more)."""
        self.free -= amount * self.each


class Key:
    """What is known of a key. refused: pauses since its last answer; wave: pauses ever."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None):
        self.requests, self.tokens = Pace(requests_per_minute), Pace(tokens_per_minute)
        self.paused, self.refused, self.wave, self.dropped, self.turn = float("-inf"), 0, 0, False, 0

    def free_at(self) -> float:
        """When the next request may begin."""
        return max(self.paused, self.requests.free, self.tokens.free)


class Limits:
    """Keys of one address and model. Every method is called from many requests at once."""

    def __init__(
        self, keys: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self.keys = [Key(requests_per_minute, tokens_per_minute) for _ in range(keys)]
        self.clock, self.turns, self.dropped_last = clock, 0, ""
        self.last_refusal = float("-inf")
        self.refused_since: float | None = None
        self.first = asyncio.Lock()  # whoever came first goes first; the others sleep without looking

    async def admit(self, tokens: float) -> Permit:
        """Wait for the turn of a request that is estimated to have so many tokens; (NO_KEY, 0) once no key is left."""
        async with self.first:
            while usable := [key for key in self.keys if not key.dropped]:
                key, now = min(usable, key=lambda key: (key.free_at(), key.turn)), self.clock()
                free = [key for key in usable if key.free_at() <= now]
                if not free:
                    await asyncio.sleep(min(key.free_at() - now, LONGEST_LOOK))
                    continue
                key = min(free, key=lambda key: key.turn)
                self.turns += 1
                key.turn = self.turns
                key.requests.take(1, now)
                key.tokens.take(tokens, now)
                return self.keys.index(key), key.wave
            return NO_KEY, 0

    async def answered(self, permit: Permit, unused: float) -> None:
        """A request was answered, with so many tokens less than were estimated."""
        key = self.keys[permit[0]]
        key.tokens.give_back(unused)
        key.refused, self.refused_since = 0, None

    async def busy(self, permit: Permit, asked: float | None, tokens: float) -> bool:
        """The address said "later": nothing more goes out with the key until then. Returns whether to go on hoping.

        asked: seconds that it asks for, if it says (`waits.pause`); tokens: estimated for the request, which has used none.
        Of one wave's requests only the first makes the pause; the others can only make it longer by what they are told.
        """
        key, now = self.keys[permit[0]], self.clock()
        key.tokens.give_back(tokens)
        if permit[1] == key.wave:
            key.wave, key.refused = key.wave + 1, key.refused + 1
            key.paused = max(key.paused, now + pause(asked, key.refused))
        elif asked is not None:
            key.paused = max(key.paused, now + asked)
        if now - self.last_refusal > NOBODY_ANSWERED or self.refused_since is None:
            self.refused_since = now  # the first since the last answer, or since something was asked at all
        self.last_refusal = now
        return now - self.refused_since < NOBODY_ANSWERED

    async def drop(self, permit: Permit, why: str) -> int:
        """A key is refused for good or has nothing left to spend. Returns how many are left."""
        self.keys[permit[0]].dropped = True
        self.dropped_last = why
        return sum(not key.dropped for key in self.keys)

    async def why_none(self) -> str:
        """What was said of the last key when it was given up."""
        return self.dropped_last
