"""All that data of a lab's size rests on, in one table: `python -m benchmarks.data [NAME ...] [--long] [--json]`.

Each part is a benchmark of its own, run one after the other: generation (engines, rows, memory, nodes), kills, checks, blocks,
endpoint, storage. Half an hour on two cores; --long, with the full sizes, takes hours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.measurements import Measurement, show

PARTS = {"generation": True, "kills": True, "checks": True, "blocks": True, "endpoint": False, "storage": False}
"""Benchmarks, and whether they have more to do with --long."""


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--long", action="store_true", help="full sizes")
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(unknown)}")
    show("data", [one for name in asked.parts or PARTS for one in measured(name, asked.long)])


def measured(name: str, long: bool = False, words: Sequence[str] = ()) -> list[Measurement]:
    """What one benchmark finds. Ends this process with what it said where it fails."""
    command = [
        sys.executable,
        "-m",
        f"benchmarks.{name}",
        "--json",
        *words,
        *(["--long"] if long and PARTS[name] else []),
    ]
    print(f"benchmarks.{name} ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"benchmarks.{name} failed:\n{done.stderr[-4000:]}")
    return [Measurement(**one) for one in json.loads(done.stdout[done.stdout.index("[") :])]


if __name__ == "__main__":
    main()
