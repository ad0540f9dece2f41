"""`requirements/install.py`: where packages are looked for, and what is said where they are not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

INSTALL = Path(__file__).parent.parent / "requirements" / "install.py"
TORCH = "torch==2.13.0+cpu"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", INSTALL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """An index on loopback that has nothing but torch's CPU build (a stand-in of the same name and version)."""
    folder = tmp_path / "index" / "torch"
    folder.mkdir(parents=True)
    name = "torch-2.13.0+cpu-py3-none-any.whl"
    info = "torch-2.13.0+cpu.dist-info"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.writestr("torch.py", "version = 'stand-in'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{name}">{name}</a></body></html>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "index")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def checkout(folder: Path) -> Path:
    """A checkout in which torch is the whole lock file and msm_ray an empty package; returns its installer."""
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "install.py").write_text(INSTALL.read_text())
    (folder / "requirements" / "cpu.txt").write_text(f"{TORCH}\n")
    return folder / "requirements" / "install.py"


def environment(home: Path, **more: str) -> dict[str, str]:
    """No configuration of pip or uv at all, and PyPI out of reach: whoever asks anybody but loopback is refused."""
    uv = str(Path(sys.executable).parent)  # uv lies in the environment that `make setup` made
    return {
        "PATH": f"{uv}:{os.environ['PATH']}", "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "",
        "PIP_NO_INPUT": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(home / "cache"),
        **more,
    }  # fmt: skip


def test_what_pip_is_told_is_handed_to_uv_in_its_environment_and_not_on_a_command_line(
    install: ModuleType, monkeypatch
) -> None:
    printed = (
        "global.cert='/etc/own.pem'\nglobal.extra-index-url='https://me:secret@a/simple\\nhttps://b/simple'\n"
        "global.find-links='/ignored'\ninstall.find-links='/wheels'\n:env:.trusted-host='a'\n"
    )
    monkeypatch.setattr(install, "quiet", lambda *_: subprocess.CompletedProcess([], 0, printed, ""))
    given = install.uv_environment(install.pip_settings(), "https://c/cpu")
    assert given["UV_INDEX"] == "https://me:secret@a/simple https://b/simple https://c/cpu"
    assert given["UV_FIND_LINKS"] == "/wheels"
    assert given["UV_INSECURE_HOST"] == "a"
    assert given["SSL_CERT_FILE"] == os.environ.get("SSL_CERT_FILE", "/etc/own.pem")


def test_what_the_user_has_told_uv_itself_stays(install: ModuleType, monkeypatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine/simple")
    assert install.uv_environment({"index-url": "https://pips/simple"})["UV_DEFAULT_INDEX"] == "https://mine/simple"


def test_a_folder_given_as_torch_index_is_where_wheels_lie(install: ModuleType, tmp_path: Path) -> None:
    assert install.uv_environment({}, str(tmp_path))["UV_FIND_LINKS"].split(",")[-1] == str(tmp_path)


def test_passwords_are_not_in_what_is_told(install: ModuleType) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "error: cannot fetch https://me:secret@host/simple/torch/")
    assert install.reason(failed) == "error: cannot fetch https://...@host/simple/torch/"


@pytest.mark.real
def test_torch_is_taken_from_the_index_that_pip_is_configured_with(tmp_path: Path, index: str) -> None:
    script = checkout(tmp_path / "c")
    (tmp_path / "c" / "pyproject.toml").write_text("")
    asked = subprocess.run(
        [sys.executable, str(script)],
        env=environment(tmp_path, PIP_INDEX_URL=index),
        capture_output=True,
        text=True,
        timeout=300,
    )
    python = tmp_path / "c" / ".venv" / "bin" / "python"
    found = subprocess.run([python, "-c", "import torch; print(torch.version)"], capture_output=True, text=True)
    assert found.stdout.strip() == "stand-in", asked.stderr
    # What comes after it, msm_ray itself, has no source in this checkout: the failed command is named.
    assert asked.returncode == 1
    assert "this failed" in asked.stderr


@pytest.mark.real
def test_where_no_place_has_uv_pip_installs_from_the_same_places(tmp_path: Path, index: str) -> None:
    script = checkout(tmp_path / "c")
    (tmp_path / "c" / "pyproject.toml").write_text("")
    given = environment(tmp_path, PIP_INDEX_URL=index, PATH="/usr/bin:/bin")
    asked = subprocess.run([sys.executable, str(script)], env=given, capture_output=True, text=True, timeout=300)
    python = tmp_path / "c" / ".venv" / "bin" / "python"
    found = subprocess.run([python, "-c", "import torch; print(torch.version)"], capture_output=True, text=True)
    assert found.stdout.strip() == "stand-in", asked.stderr
    assert "going on with pip" in asked.stdout


@pytest.mark.real
def test_where_torch_is_nowhere_both_places_and_the_way_on_are_told(tmp_path: Path) -> None:
    script = checkout(tmp_path / "c")
    asked = subprocess.run(
        [sys.executable, str(script)], env=environment(tmp_path), capture_output=True, text=True, timeout=300
    )
    assert asked.returncode == 3, asked.stderr
    assert TORCH in asked.stderr
    assert "TORCH_INDEX=<" in asked.stderr
    assert "PyTorch's own" in asked.stderr


def test_a_python_that_does_not_fit_is_told_when_no_other_is_there(
    install: ModuleType, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install, "fitting_python", lambda: None)
    monkeypatch.setattr(install, "PYTHON", tmp_path / "none")
    monkeypatch.setattr(install.shutil, "which", lambda _: None)
    with pytest.raises(install.Lacking, match=r"3\.11\.2 to 3\.13 are needed.*make PYTHON="):
        install.make_environment()


def test_a_python_that_fits_is_found_beside_one_that_does_not(install: ModuleType, monkeypatch, tmp_path: Path) -> None:
    for name, code in (("python3", 1), ("python3.11", 1), ("python3.12", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install.sys, "executable", str(tmp_path / "python3"))
    assert install.fitting_python() == "python3.12"


def test_the_installer_runs_under_old_pythons() -> None:
    """It is what tells somebody with an old Python what to do, so it may use no newer syntax."""
    import ast

    ast.parse(INSTALL.read_text(), feature_version=(3, 6))
