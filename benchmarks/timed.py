"""An engine (`documents.engine: benchmarks.timed:engine`) that answers after a time and leaves its cores idle meanwhile.

Every answer is a function of the row's id and attempt. Each request is noted in `$TIMED_LOG/<process>.txt`, a line each, so that
what was asked twice can be counted after a kill.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def answer_of(key: str, attempt: int) -> tuple[str, str]:
    """The text and finish reason for a row: one in eight is cut off at the first attempt, one in 64 at every one."""
    place = int(key[:8], 16)
    cut = place % 64 == 0 or (place % 8 == 0 and attempt == 1)
    words = " ".join(key[at : at + 3] for at in range(0, len(key), 3))
    text = f"<scratchpad>plan</scratchpad><content>Ada likes tea, and this is {words} of many.</content>"
    return (text[:40], "length") if cut else (text, "stop")


def engine(settings: Any, workers: Any) -> Any:
    """settings.model: seconds that an answer takes."""
    seconds, log = float(settings.model or 0), os.environ.get("TIMED_LOG")
    file = (Path(log) / f"{os.getpid()}.txt").open("a") if log else None

    async def answer(row: Mapping[str, Any]) -> dict[str, Any]:
        if file:
            file.write(f"{row['id']} {row['attempt']}\n")
            file.flush()
        if seconds:
            await asyncio.sleep(seconds)
        text, finish = answer_of(row["id"], row["attempt"])
        return {"completion": text, "finish_reason": finish, "num_input_tokens": 100, "num_generated_tokens": 20}

    return answer


def asked(log: Path) -> Counter[tuple[str, int]]:
    """How often each (id, attempt) was asked, all processes together."""
    lines = (line.split() for path in log.glob("*.txt") for line in path.read_text().splitlines())
    return Counter((key, int(attempt)) for key, attempt in lines)
