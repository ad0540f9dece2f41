"""How long `msm plan` takes: `python -m benchmarks.plan [--json]`.

CPU seconds of `msm plan jobs/quickstart.yaml`, over those of a process that only imports the libraries which it needs: what a
machine's speed does not change. Each is the least of several; what Python compiles is compiled before.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.measurements import Measurement, show

ROOT = Path(__file__).parents[1]
LIBRARIES = "import pyarrow, pydantic, numpy, jinja2, yaml, typer"
PLAN = "import sys; from msm_ray import cli; sys.argv = ['msm', 'plan', 'jobs/quickstart.yaml']; cli.main()"
TIMES = 5


def main() -> None:
    """Plan, import, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one list of measurements")
    parser.parse_args()
    plan, libraries = (min(cpu_of(code) for _ in range(TIMES)) for code in (PLAN, LIBRARIES))
    show(
        "plan",
        [
            Measurement("msm plan, quickstart", plan, "s of CPU", 1, "lower"),
            Measurement("the same over its libraries' imports", plan / libraries, "times", None, "lower"),
        ],
    )


def cpu_of(code: str) -> float:
    """CPU seconds of a process that runs some code, in the repository's root."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
