"""Where the time goes, stage by stage, and peak memory: `python -m benchmarks.quickstart [--json] [key=value ...]`.

Runs `msm run jobs/quickstart.yaml` from nothing in a temporary folder, then once more (which has to do nothing), and reads
the seconds that the run itself noted in `timings.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.measurements import Measurement, show

SECONDS_ONE_SEED, SECONDS_FOUR_SEEDS, GIB = 15 * 60, 45 * 60, 12
STAGE_SECONDS = {"documents": 105}
"""Stages that have a goal of their own, the starts of Ray and the engine included."""


def main() -> None:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quickstart", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of jobs/quickstart.yaml")
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    overrides = parser.parse_args().overrides
    seeds = next((int(o.partition("=")[2]) for o in overrides if o.startswith("seeds=")), 1)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "msm_ray.cli", "run", "jobs/quickstart.yaml", f"root={folder}", *overrides]
        first, peak = _timed(command)
        second, _ = _timed(command)
        lines = (Path(folder) / "timings.jsonl").read_text(encoding="utf-8").splitlines()
        timings = [json.loads(line) for line in lines]
    goal = SECONDS_FOUR_SEEDS if seeds >= 4 else SECONDS_ONE_SEED
    rows = [
        Measurement(f"stages: {t['what']}", t["seconds"], "s", STAGE_SECONDS.get(t["what"]), "lower") for t in timings
    ]
    rows.append(Measurement(f"whole run, {seeds} seed(s)", first, "s", goal, "lower"))
    rows.append(Measurement("second run, nothing to do", second, "s", 15, "lower"))
    rows.append(Measurement("peak memory (proportional set size)", peak, "GiB", GIB, "lower"))
    show("quickstart", rows)


def _timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak GiB of a command and everything below it. Ends the benchmark where the command fails."""
    started, peak, running = time.monotonic(), 0.0, True
    process = subprocess.Popen(command, stdout=sys.stderr)

    def watch() -> None:
        nonlocal peak
        while running:
            peak = max(peak, _memory(process.pid))
            time.sleep(2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    running = False
    watcher.join()
    if code:
        sys.exit(f"the run ended with exit code {code}")
    return time.monotonic() - started, peak


def _memory(pid: int) -> float:
    """GiB of a process and its descendants; shared pages are counted once, by share (PSS)."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**30


if __name__ == "__main__":
    main()
