"""Resolve pyproject's extras anew into `cpu.txt`, for the oldest Python that is supported: what `make lock` runs."""

import subprocess
import sys

import install

LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")
"""CUDA builds on PyPI that break transformers beside a CPU torch; text needs none of them."""
TORCH = "2.13.0+cpu"
SETUPTOOLS = "setuptools==78.1.1"
"""What builds msm_ray itself, without an isolated build."""


def main():
    """Write the lock file; returns the exit code."""
    pip = install.pip_settings()
    uv = install.get_uv()
    if uv is None:
        print("msm_ray: `make lock` needs uv", file=sys.stderr)
        return 3
    command = [
        uv,
        "pip",
        "compile",
        "pyproject.toml",
        "-",
        "--extra",
        "cpu",
        "--extra",
        "dev",
        "--no-header",
        "--no-annotate",
    ]
    command += ["--python-version", ".".join(map(str, install.LEAST)), "--python-platform", "x86_64-manylinux_2_28"]
    command += [word for package in LEFT_OUT for word in ("--no-emit-package", package)]
    asked = subprocess.run(
        [*command, *install.without_index(pip)],
        input=f"torch=={TORCH}\n{SETUPTOOLS}\n", stdout=subprocess.PIPE, universal_newlines=True,
        env=install.uv_environment(pip), cwd=str(install.ROOT), check=True,
    )  # fmt: skip
    comment = [line for line in install.LOCK.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    packages = sorted((line for line in asked.stdout.splitlines() if line.strip()), key=str.lower)
    install.LOCK.write_text("\n".join([*comment, *packages]) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
