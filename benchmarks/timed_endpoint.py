"""An OpenAI-like address in a process of its own that answers after a set time and counts: `python -m benchmarks.timed_endpoint`.

First line of its output: the port. GET /counts: what it was asked so far, as JSON, GET /anew: the same, and it begins to count
anew; POST: a request. Arguments: seconds of
latency, and the share of requests that it answers with 429 at once.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

READ, WRITTEN = 500, 250
"""Tokens that it says of every answer."""


class Counts:
    """Requests so far. busy: seconds of all requests together; first, last: when the first came and the last was answered."""

    def __init__(self) -> None:
        self.requests = self.answered = self.in_flight = self.most = 0
        self.busy, self.first, self.last = 0.0, 0.0, 0.0

    def as_json(self) -> dict[str, float]:
        """Plain values, with the mean of what was in flight from the first request to the last answer."""
        span = self.last - self.first
        return {
            "requests": self.requests, "answered": self.answered, "most_in_flight": self.most, "seconds": span,
            "mean_in_flight": self.busy / span if span else 0.0,
        }  # fmt: skip


class Address:
    """Answers requests over connections that stay."""

    def __init__(self, seconds: float, refused: float):
        self.seconds, self.refused, self.counts, self.lots = seconds, refused, Counts(), random.Random(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it is closed."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                await reader.readexactly(length)
                status, body = await self._answer() if head.startswith(b"POST") else (b"200 OK", self.counts.as_json())
                if head.startswith(b"GET /anew"):
                    self.counts = Counts()
                content = json.dumps(body).encode()
                writer.write(
                    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (status, len(content))
                )
                writer.write(content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self) -> tuple[bytes, dict[str, object]]:
        counts, began = self.counts, time.monotonic()
        counts.first = counts.first or began
        counts.requests += 1
        if self.lots.random() < self.refused:
            return b"429 Too Many Requests", {"error": {"message": "later", "type": "rate_limit"}}
        counts.in_flight += 1
        counts.most = max(counts.most, counts.in_flight)
        await asyncio.sleep(self.seconds)
        counts.in_flight -= 1
        counts.answered += 1
        counts.last = time.monotonic()
        counts.busy += counts.last - began
        message = {"role": "assistant", "content": "<content>A letter.</content>"}
        usage = {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN}
        return b"200 OK", {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


async def main() -> None:
    """Serve until the process is ended."""
    address = Address(float(sys.argv[1]), float(sys.argv[2]))
    server = await asyncio.start_server(address.serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
