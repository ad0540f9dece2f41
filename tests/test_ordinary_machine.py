"""Long proofs (`make soak`) that both commands need no more than an ordinary machine has.

Each makes a fresh clone of what is committed here. Where this machine cannot show something, the test is skipped with a word.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from whole_run import SMALL

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

HERE = Path(__file__).parent.parent
TORCH = "torch==2.13.0+cpu"
COMPILER = re.compile(r"(.*-)?(gcc|g\+\+|cc|c\+\+|clang|clang\+\+|cpp|c89|c99|ld)(-[\d.]+)?$")
NOBODY = 65534


def pythons() -> list[str]:
    """Every Python on this machine that msm_ray supports, by its real path."""
    found: dict[str, str] = {}
    for folder in [*os.environ["PATH"].split(":"), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]:
        for path in Path(folder).glob("python3*"):
            if not re.fullmatch(r"python3(\.1[123])?", path.name):
                continue
            asked = subprocess.run([path, "-c", PRINT], capture_output=True, text=True)
            if asked.returncode == 0 and (3, 11, 2) <= tuple(map(int, asked.stdout.split()[0].split("."))) < (3, 14):
                found[asked.stdout.split()[1]] = asked.stdout.split()[0]
    return sorted(found, key=lambda path: found[path])


PRINT = "import os, platform, sys; print(platform.python_version(), os.path.realpath(sys._base_executable))"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may enter (pytest's own are this user's alone)."""
    with tempfile.TemporaryDirectory(prefix="msm-soak-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def clone(place: Path) -> Path:
    """A fresh clone of what is committed, in a folder with a space in its name."""
    folder = place / "My Projects" / "msm_ray"
    subprocess.run(["git", "clone", "-q", HERE, folder], check=True)
    return folder


@pytest.fixture
def torch_wheels(place: Path) -> Path:
    """A folder with torch's CPU build for this Python, from where this machine's pip finds it."""
    folder = place / "wheels"
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, TORCH],
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        pytest.skip(f"pip finds no {TORCH} for this Python on this machine")
    folder.chmod(0o755)
    return folder


def small_path(folder: Path) -> str:
    """A PATH with every command of /usr/bin but compilers and linkers."""
    folder.mkdir()
    for command in Path("/usr/bin").iterdir():
        if not COMPILER.fullmatch(command.name):
            (folder / command.name).symlink_to(command)
    assert shutil.which("make", path=str(folder)) and not shutil.which("g++", path=str(folder))
    return str(folder)


def as_somebody_else(command: list[str], folder: Path, environment: dict[str, str], shared_mib: int) -> tuple[int, str]:
    """Run a command as another user, with a small /dev/shm of its own and nothing in its environment but what is given."""
    inner = f"mount -t tmpfs -o size={shared_mib}m,mode=1777 tmpfs /dev/shm && exec setpriv --reuid={NOBODY} --regid={NOBODY}"
    words = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        f'{inner} --clear-groups "$@"',
        "sh",
        *command,
    ]
    done = subprocess.run(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3000
    )
    return done.returncode, done.stdout


def prepared(place: Path, clone: Path, **more: str) -> dict[str, str]:
    """The empty environment of a user whose home is empty too."""
    home = place / "home"
    home.mkdir()
    for path in (home, clone, *clone.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return {"PATH": small_path(place / "bin"), "HOME": str(home), **more}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user with another /dev/shm")


@needs_root
@pytest.mark.parametrize("python", pythons())
def test_a_small_experiment_runs_for_another_user_without_compiler_or_environment(
    place: Path, clone: Path, python: str, torch_wheels: Path
) -> None:
    version = subprocess.run(
        [python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"], capture_output=True, text=True
    )
    if not list(torch_wheels.glob(f"torch-*-{version.stdout.strip()}-*.whl")):
        pytest.skip(f"untried: {python} has no CPU build of torch on this machine")
    if as_somebody_else(["sh", "-c", 'test -x "$0"', python], clone, {}, 64)[0]:
        pytest.skip(f"{python}: another user may not start it")
    environment = prepared(place, clone, TORCH_INDEX=str(torch_wheels))
    began = time.monotonic()
    code, said = as_somebody_else(["make", "setup", f"PYTHON={python}"], clone, environment, 256)
    assert code == 0, said[-3000:]
    installed = time.monotonic()
    run = [".venv/bin/msm", "run", "jobs/quickstart.yaml", *SMALL]
    code, said = as_somebody_else(run, clone, environment, 256)
    assert code == 0, said[-3000:]
    assert "this machine: " in said and "report: " in said
    print(
        f"\n{python}: installed in {installed - began:.0f} s, small experiment in {time.monotonic() - installed:.0f} s"
    )
    code, said = as_somebody_else([*run, f"root={place}/home/other"], clone, environment, 64)
    assert code == 3, said[-3000:]
    assert "/dev/shm: 64 MiB free" in said and "--shm-size" in said


class _Index(SimpleHTTPRequestHandler):
    """A PEP 503 index whose only project is torch; counts what is fetched."""

    wheels: Path
    fetched: list[str]

    def do_GET(self) -> None:
        if self.path == "/torch/":
            page = "".join(f'<a href="{w.name}">{w.name}</a>' for w in self.wheels.glob("*.whl")).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
        elif self.path.startswith("/torch/"):
            self.fetched.append(self.path)
            super().do_GET()
        else:
            self.send_error(404)

    def translate_path(self, path: str) -> str:
        return str(self.wheels / Path(super().translate_path(path)).name)

    def log_message(self, *_: object) -> None:
        pass


def test_torch_comes_from_an_index_on_loopback_where_nothing_else_is_configured(
    place: Path, clone: Path, torch_wheels: Path
) -> None:
    handler = type("Index", (_Index,), {"wheels": torch_wheels, "fetched": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(place),
        "TORCH_INDEX": f"http://127.0.0.1:{server.server_address[1]}/",
    }  # fmt: skip
    base = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={base}"], cwd=clone, env=environment, capture_output=True, text=True, timeout=1800
    )
    server.shutdown()
    assert done.returncode == 0, done.stderr[-3000:]
    assert handler.fetched
    version = [clone / ".venv/bin/python", "-c", "import torch; print(torch.__version__)"]
    assert subprocess.run(version, capture_output=True, text=True).stdout.strip() == "2.13.0+cpu"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A server on loopback that takes every connection and never answers."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


@pytest.mark.parametrize("has_uv", [True, False])
def test_where_nobody_answers_the_user_is_told_within_two_minutes(
    place: Path, clone: Path, black_hole: str, has_uv: bool
) -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin" if has_uv else small_path(place / "bin")
    environment = {
        "PATH": path, "HOME": str(place), "HTTPS_PROXY": black_hole, "HTTP_PROXY": black_hole, "PIP_CONFIG_FILE": os.devnull,
    }  # fmt: skip
    base = getattr(sys, "_base_executable", sys.executable)
    began = time.monotonic()
    done = subprocess.run(
        ["make", "setup", f"PYTHON={base}"], cwd=clone, env=environment, capture_output=True, text=True, timeout=600
    )
    seconds = time.monotonic() - began
    print(f"\ntold after {seconds:.0f} s")
    assert done.returncode != 0
    assert "Error 3" in done.stderr and "TORCH_INDEX" in done.stderr, done.stderr
    assert seconds < 120
