"""An address that is slow, and one that says "later" to half: `python -m benchmarks.endpoint [--json]`, two minutes.

How much of 64 in flight is reached at a latency of 1 s, measured at the address after a first request that is not counted,
beside a bare client in the same run; whether all rows are answered where half of the requests get 429; whether the account
agrees with what the address answered, and stays within its limit. Limits and account are Ray actors, as in a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measurements import Measurement, show
from benchmarks.timed_endpoint import READ, WRITTEN
from msm_ray.engines.endpoint import endpoint_opener
from msm_ray.engines.settings import EngineSettings
from msm_ray.engines.spending import Spending

IN_FLIGHT, LATENCY, WAVES = 64, 1.0, 30
BUSY_ROWS = 640
PRICES = (3.0, 15.0)
COST = (READ * PRICES[0] + WRITTEN * PRICES[1]) / 1e6


def main() -> None:
    """Measure and print."""
    import ray

    ray.init("local", num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = [*_concurrency(root), *_busy(root), *_limited(root)]
    ray.shutdown()
    show("an endpoint", found)


def _concurrency(root: Path) -> Iterator[Measurement]:
    """One asker, as many rows at once as are to be in flight; the bare client says what the machine lets through."""
    rows = IN_FLIGHT * WAVES
    with _address(LATENCY) as (settings, counts):
        bare_cpu = _cpu(lambda: _ask_bare(settings, rows))
        bare = counts()["mean_in_flight"] / IN_FLIGHT
    with _address(LATENCY) as (settings, counts):
        cpu = _cpu(lambda: _ask(settings, rows, Spending(root / "slow.jsonl", 100.0), started=True))
        reached = counts()["mean_in_flight"] / IN_FLIGHT
    yield Measurement(f"mean in flight over {IN_FLIGHT}, {LATENCY:g} s latency", reached, "share", 0.95, "higher")
    yield Measurement("the same of the bare client, in this run", bare, "share", None, "higher")
    yield Measurement("asker's CPU a row", 1000 * cpu / rows, "ms", None, "lower")
    yield Measurement("bare client's CPU a row", 1000 * bare_cpu / rows, "ms", None, "lower")
    yield Measurement("processes that want a core", os.getloadavg()[0] / (os.cpu_count() or 1), "a core", None, "lower")


def _cpu(work: Callable[[], object]) -> float:
    """Seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _ask_bare(settings: EngineSettings, count: int) -> None:
    """The openai client alone, without limits, account or tries."""
    from openai import AsyncOpenAI

    async def all_of_them() -> None:
        left = iter(_rows(count))
        async with AsyncOpenAI(base_url=settings.url, api_key="none", max_retries=0) as client:

            async def one_after_another() -> None:
                for row in left:
                    await client.chat.completions.create(model="timed", messages=row["messages"], max_tokens=300)

            await client.chat.completions.create(model="timed", messages=[{"role": "user", "content": "hello"}])
            _anew(settings)
            await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))

    asyncio.run(all_of_them())


def _busy(root: Path) -> Iterator[Measurement]:
    """Half of all requests get 429, nothing says for how long."""
    with _address(0.05, refused=0.5) as (settings, counts):
        spending = Spending(root / "busy.jsonl", 2 * BUSY_ROWS * COST)
        answers = _ask(settings, BUSY_ROWS, spending)
        seen = counts()
    lost = sum(bool(answer["failure"]) for answer in answers)
    off = abs(spending.spent() - seen["answered"] * COST)
    yield Measurement(f"429 to half: rows of {BUSY_ROWS} without an answer", lost, "rows", 0, "lower")
    yield Measurement("429 to half: requests a row", seen["requests"] / BUSY_ROWS, "requests", None, "lower")
    yield Measurement("429 to half: seconds", seen["seconds"], "s", None, "lower")
    yield Measurement("429 to half: account against address", 100 * off, "cents", 0.5, "lower")


def _limited(root: Path) -> Iterator[Measurement]:
    """The same with a limit of half of what all rows would cost."""
    limit = BUSY_ROWS * COST / 2
    with _address(0.05, refused=0.5) as (settings, counts):
        spending = Spending(root / "limited.jsonl", limit)
        _ask(settings, BUSY_ROWS, spending)
        paid = counts()["answered"] * COST
    yield Measurement(
        f"limit of {100 * limit:.1f} cents: paid beyond it", max(0.0, 100 * (paid - limit)), "cents", 0, "lower"
    )
    yield Measurement("share of the limit that is used", paid / limit, "share", None, "higher")
    yield Measurement("account against address", 100 * abs(spending.spent() - paid), "cents", 0.5, "lower")


def _anew(settings: EngineSettings) -> None:
    """What was until now was the start: connections, actors, imports."""
    urllib.request.urlopen(f"{(settings.url or '').removesuffix('/v1')}/anew").read()


def _ask(settings: EngineSettings, count: int, spending: Spending, *, started: bool = False) -> list[dict[str, Any]]:
    """Rows asked as a worker asks them: the next begins when one is answered. started: a row more, before, is not counted."""
    opened = endpoint_opener(settings, IN_FLIGHT, spending)

    async def all_of_them() -> list[dict[str, Any]]:
        asker, left, answers = opened(), iter(_rows(count)), []

        async def one_after_another() -> None:
            for row in left:
                answers.append(await asker.answer(row))

        if started:
            await asker.answer(_rows(1)[0])
            _anew(settings)
        await asyncio.gather(*(one_after_another() for _ in range(asker.in_flight)))
        await asker.close()
        return answers

    return asyncio.run(all_of_them())


def _rows(count: int) -> list[dict[str, Any]]:
    words = [
        {"role": "user", "content": "Write a letter. " * 120}
    ]  # about as many bytes as tokens are said of it, times 4
    asked = {"messages": words, "temperature": 1.0, "top_p": 1.0, "max_tokens": 300}
    return [{"id": str(number), "attempt": 1, **asked} for number in range(count)]


@contextlib.contextmanager
def _address(seconds: float, refused: float = 0.0) -> Iterator[tuple[EngineSettings, Any]]:
    command = [sys.executable, "-m", "benchmarks.timed_endpoint", str(seconds), str(refused)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        base = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        settings = EngineSettings(
            engine="endpoint",
            url=f"{base}/v1",
            model="timed",
            batch_size=16,
            in_flight=4,
            prices=PRICES,
            request_tries=3,
        )
        try:
            yield settings, lambda: json.load(urllib.request.urlopen(f"{base}/counts"))
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
