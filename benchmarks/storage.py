"""What a bucket costs: rows written, committed and read again below a root on an S3 server on loopback, against a folder.

`python -m benchmarks.storage [--json]`; `--rows N` for another number of rows (100,000). The rows are documents of about 1,500
characters, as a documents stage leaves them: accepted rows and raw answers, written by its own tables; then the
commit; then all rows are read back. Folder and bucket take turns, a quarter of the rows each time. The server is moto's, a
Python process that takes its share of the same cores.
"""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measurements import Measurement, show
from msm_ray import storage
from msm_ray.generate.shards import BUCKET_ROWS, GrowingShards
from msm_ray.graph.artifacts import commit
from msm_ray.rows.schemas import DOCUMENT_SCHEMA, RAW_SCHEMA, Row
from msm_ray.rows.tables import read_rows

ROWS, TURNS = 100_000, 4
SMALL = 256
"""Rows of a file in a folder."""
KEYS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
SERVE = """
import logging, sys, time
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def _server() -> Iterator[None]:
    """moto's S3 server as a process of its own with an empty bucket `lab`, its address in the environment."""
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/lab", method="PUT")).close()
    os.environ.update(KEYS | {"AWS_ENDPOINT_URL": address})
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()


def _documents(count: int) -> list[Row]:
    """Rows of a documents stage: texts of about 1,500 characters that compress as text does."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(4000)]
    texts = [" ".join(draw.choices(words, k=230)) for _ in range(1000)]
    names = dict.fromkeys([*DOCUMENT_SCHEMA.names, *RAW_SCHEMA.names], "x")
    numbers = {"temperature": 1.0, "top_p": 1.0, "tokens": 300, "attempt": 1, "num_input_tokens": 900}
    both = names | numbers | {"num_generated_tokens": 400}
    return [
        both | {"id": f"{number:016x}", "text": f"{number} {texts[number % 1000]}", "raw": texts[number % 1000]}
        for number in range(count)
    ]


def _measured(folder: Path, rows: list[Row], least: int | None = None) -> dict[str, float]:
    """Seconds of writing, committing and reading. least: rows of a file, where they are not to be a stage's own."""
    began = time.perf_counter()
    shards = GrowingShards(folder, seconds=1e9)
    if least is not None:
        for table in (shards.accepted, shards.rejected, shards.raw):
            table.rows = least
    for position, row in enumerate(rows):
        shards.add(row, position)
    shards.flush()
    written = time.perf_counter()
    record: dict[str, Any] = {"inputs": {}, "editable": [], "format": 2}
    commit(folder, record, {"rows": len(rows)})
    committed = time.perf_counter()
    read = sum(1 for _ in read_rows(folder / "data"))
    assert read == len(rows)
    return {"write": written - began, "commit": committed - written, "read": time.perf_counter() - committed}


def main() -> None:
    """Measure all three, in turns, and print ratios of rows a second: as stages write, and with files alike in both."""
    logging.disable(logging.WARNING)
    count = int(sys.argv[sys.argv.index("--rows") + 1]) if "--rows" in sys.argv else ROWS
    rows = _documents(count)
    with _server(), tempfile.TemporaryDirectory() as folder:
        _measured(storage.place("s3://lab/warm/documents/x@1"), rows[:512])
        _measured(Path(folder) / "warm/documents/x@1", rows[:512])
        bucket, small, local = Counter[str](), Counter[str](), Counter[str]()
        for turn in range(TURNS):
            part = rows[turn::TURNS]
            bucket.update(_measured(storage.place(f"s3://lab/root/documents/x@{turn}"), part))
            local.update(_measured(Path(folder) / f"root/documents/x@{turn}", part))
            small.update(_measured(storage.place(f"s3://lab/root/small/x@{turn}"), part, SMALL))
    total = {name: sum(each.values()) for name, each in (("bucket", bucket), ("local", local), ("small", small))}
    each = [
        Measurement(f"{step}: bucket over folder, as stages write", local[step] / bucket[step], "ratio", None, "higher")
        for step in local
    ]
    show(
        f"Storage, {count:,} rows",
        [
            Measurement(
                f"bucket over folder, as stages write (files of {BUCKET_ROWS:,} and of {SMALL} rows)",
                total["local"] / total["bucket"],
                "ratio",
                0.7,
                "higher",
            ),
            Measurement(
                f"bucket over folder, like for like (files of {SMALL} rows in both)",
                total["local"] / total["small"],
                "ratio",
                0.7,
                "higher",
            ),
            *each,
            Measurement("in a folder", count / total["local"], "rows/s", None, "higher"),
            Measurement("in a bucket", count / total["bucket"], "rows/s", None, "higher"),
        ],
    )


if __name__ == "__main__":
    main()
