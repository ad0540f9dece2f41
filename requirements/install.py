"""Make `.venv` and install the lock file into it: what `make setup` runs, with any Python from 3.6 on and nothing installed.

    python3 requirements/install.py [PACKAGE ...]

Without a PACKAGE: the environment, every package of `cpu.txt`, and msm_ray itself. With one: only that, into an environment
that is there, without what it depends on.

Packages are installed by uv (the user's own, else brought by pip into `.venv`), which is told where pip is configured to
look; where uv can't be had, by pip. torch's CPU build is on no index that everybody has: it is taken from where the machine
is configured to look, from `TORCH_INDEX` (an address or a folder), or from PyTorch's own CPU index, which uv knows
(`--torch-backend cpu`). Every place is asked with a time limit before anything large is fetched.

Exit codes as in the rest of msm_ray: 0 done, 1 an installation failed, 3 this machine lacks something, and the message says
what, 130 interrupted.
"""

import ast
import ctypes
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements" / "cpu.txt"
LEAST, BELOW = (3, 11, 2), (3, 14)
"""Python versions that every package of the lock file takes."""
TRIED_FIRST = ("python3.11", "python3.12", "python3.13")
DISK_GIB = 6.5
"""Room that is asked for: 4.6 GiB stay (measured), the rest is for archives while they are unpacked (not measured)."""
LIBRARIES = (("libnuma.so.1", "libnuma1", "numactl-libs"), ("libstdc++.so.6", "libstdc++6", "libstdc++"))
"""Libraries that torch and vLLM are linked against and no wheel brings: file, Debian's package, Fedora's."""
PROBE_SECONDS = 40
FITS = f"import sys; sys.exit(not ({LEAST} <= sys.version_info[:3] and sys.version_info[:2] < {BELOW}))"


class Lacking(Exception):
    """This machine lacks something; the text says what, and what to do."""


def main(packages):
    """Make what is missing; returns the exit code."""
    try:
        if packages:
            install_packages(packages)
        else:
            check_machine()
            make_environment()
            install_all()
    except Lacking as error:
        print(f"msm_ray: {error}", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError as error:
        command = " ".join(str(word) for word in error.cmd)
        print(f"msm_ray: this failed (exit code {error.returncode}): {command}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("msm_ray: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def say(text):
    """One line at once, so that nobody waits without knowing for what."""
    print(f"msm_ray: {text}", flush=True)


# --- what the machine has ---------------------------------------------------------------------------------------------------


def check_machine():
    """Refuse in the first second what would fail after minutes."""
    if not sys.platform.startswith("linux"):
        raise Lacking(f"Linux (x86-64) is needed, this is {sys.platform}; the Dockerfile runs both commands.")
    free = shutil.disk_usage(str(ROOT)).free / 2.0**30
    if free < DISK_GIB and not PYTHON.exists():
        raise Lacking(f"{ROOT}: {free:.1f} GiB free, {DISK_GIB} needed for the environment.")
    for file, debian, fedora in LIBRARIES:
        try:
            ctypes.CDLL(file)
        except OSError:
            raise Lacking(
                f"{file} is missing, which vLLM needs: `apt-get install {debian}` (Debian, Ubuntu) or "
                f"`dnf install {fedora}` (Fedora, RHEL), then start again."
            ) from None


def fitting_python():
    """The command of a Python that fits: the one that runs this, else another on the path; None where there is none."""
    for command in (sys.executable, *TRIED_FIRST):
        if command and shutil.which(command) and quiet([command, "-c", FITS]).returncode == 0:
            return command
    return None


def make_environment():
    """`.venv` with a Python that fits; without pip where Debian's Python comes without it."""
    if PYTHON.exists():
        if quiet([PYTHON, "-c", FITS]).returncode:
            raise Lacking(f"{VENV} has another Python than 3.11.2 to 3.13; `make clean` removes it.")
        return
    command = fitting_python()
    if command is None:
        make_environment_by_uv()
        return
    say("environment: {} ({})".format(VENV, quiet([command, "--version"]).stdout.strip()))
    if quiet([command, "-m", "venv", VENV]).returncode:
        subprocess.run([command, "-m", "venv", "--clear", "--without-pip", str(VENV)], check=True)


def make_environment_by_uv():
    """No Python here fits: uv fetches one."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    what = f"Python {version} is too old or too new: 3.11.2 to 3.13 are needed"
    uv = shutil.which("uv")
    if uv is None:
        raise Lacking(what + ". Install one of them, or uv (which fetches one), or name one: make PYTHON=<path>.")
    say(f"{what}; uv looks for one")
    asked = quiet([uv, "venv", "--quiet", "--python", "3.11", VENV], uv_environment(pip_settings()))
    if asked.returncode:
        raise Lacking(f"{what}, and uv can fetch none: {reason(asked)}\nInstall one, or make PYTHON=<path>.")


# --- where packages are looked for ------------------------------------------------------------------------------------------


def pip_settings():
    """What pip is configured with for `pip install`: key -> value; the environment wins over files, `install` over `global`."""
    asked = quiet([host_pip(), "-m", "pip", "config", "list"])
    found = {}
    for source in ("global", "install", ":env:"):
        for line in asked.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(source + "."):
                found[key[len(source) + 1 :]] = str(ast.literal_eval(value))
    return found


def host_pip():
    """A Python that has pip: the environment's, else the one that runs this."""
    has = PYTHON.exists() and quiet([PYTHON, "-m", "pip", "--version"]).returncode == 0
    return str(PYTHON) if has else sys.executable


def uv_environment(pip, torch_index=""):
    """Environment that makes uv look where pip looks (addresses can hold passwords, so never on a command line).

    What the user has told uv itself stays. Certificates are the machine's, as with pip.
    """
    own = dict(os.environ)
    folders, indexes = pip.get("find-links", "").split(), pip.get("extra-index-url", "").split()
    if torch_index:
        (folders if Path(torch_index).is_dir() else indexes).append(torch_index)
    given = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(indexes),
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # as pip: the best of all places, not the first that knows the name
        "UV_FIND_LINKS": ",".join(folders),
        "UV_INSECURE_HOST": pip.get("trusted-host", ""),
        "UV_CONSTRAINT": pip.get("constraint", ""),
        "SSL_CERT_FILE": pip.get("cert", ""),
        "HTTPS_PROXY": pip.get("proxy", ""),
        "HTTP_PROXY": pip.get("proxy", ""),
        "UV_SYSTEM_CERTS": "true" if has_certificates() else "",
        "DS_BUILD_OPS": "0",  # deepspeed comes as source; its operators are not compiled
        "UV_NO_PROGRESS": "" if sys.stderr.isatty() else "1",
    }
    return dict({key: value for key, value in given.items() if value}, **own)


def without_index(pip):
    """uv's option where pip is told to ask no index (a machine with a folder of wheels and no network)."""
    return ["--no-index"] if pip.get("no-index", "").lower() in ("1", "true", "yes", "on") else []


def has_certificates():
    """Whether the machine keeps certificates of its own (a bare container does not)."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))


def get_uv():
    """uv's path: the user's, the environment's, or brought into it by pip; None where no place that pip knows has it."""
    own, brought = shutil.which("uv"), VENV / "bin" / "uv"
    if own and b"--torch-backend" in subprocess.run([own, "pip", "install", "--help"], stdout=subprocess.PIPE).stdout:
        return own
    if not brought.exists():
        say(f"bringing uv into {VENV}")
        # pip's own limits may be long ones; nothing here may look like hanging.
        asked = quiet([*pip_install(), "--timeout", "10", "--retries", "1", "uv"])
        if asked.returncode:
            say(f"pip cannot bring uv ({reason(asked)}); going on with pip")
    return str(brought) if brought.exists() else None


def pip_install():
    """The beginning of a `pip install` command that installs into the environment."""
    host = host_pip()
    into = [] if host == str(PYTHON) else ["--python", str(PYTHON)]
    if quiet([host, "-m", "pip", "--version"]).returncode:
        raise Lacking(
            "this Python has neither pip nor ensurepip. Install uv, or pip and venv "
            "(Debian, Ubuntu: apt-get install python3-venv), and start again."
        )
    return [host, "-m", "pip", *into, "install", "--quiet", "--no-deps", "--disable-pip-version-check"]


# --- installing -------------------------------------------------------------------------------------------------------------


def install_all():
    """Every package of the lock file, then msm_ray itself, as it lies here."""
    torch = next(line for line in LOCK.read_text(encoding="utf-8").split() if line.startswith("torch=="))
    given = os.environ.get("TORCH_INDEX", "")
    uv = get_uv()
    if uv is None:
        install_all_by_pip(torch, given)
        return
    pip = pip_settings()
    environment, only = uv_environment(pip, given), without_index(pip)
    backend = where_torch_is(uv, environment, torch, given, only)
    say(f"installing {LOCK.name}")
    run_uv(uv, environment, *only, *backend, "-r", LOCK)
    run_uv(uv, environment, "--no-build-isolation", "-e", ROOT)


def where_torch_is(uv, environment, torch, given, only):
    """Ask each place that may have torch's CPU build; returns the options that make uv take it from there.

    Raises Lacking, with each place's answer, where none has it or nothing can be reached.
    """
    here = probe(uv, environment, torch, *only)
    if not here:
        return []
    if given or only:
        elsewhere = "not asked, since {}".format("TORCH_INDEX is given" if given else "pip is told to ask no index")
    else:
        elsewhere = probe(uv, environment, torch, "--torch-backend", "cpu")
    if not elsewhere:
        return ["--torch-backend", "cpu"]
    raise Lacking(
        "torch's CPU build ({}) was found nowhere.\n"
        "  {}: {}\n"
        "  PyTorch's own CPU index (uv's --torch-backend cpu): {}\n"
        "Give the address of an index that has it, or a folder with its wheel: make quickstart TORCH_INDEX=<address or folder>.\n"
        "Behind a proxy set HTTPS_PROXY; pip's own settings (index-url, find-links, cert) are used as they are.".format(
            torch, "TORCH_INDEX and where pip looks" if given else "where pip looks on this machine", here, elsewhere
        )
    )


def probe(uv, environment, package, *options):
    """Why a package can't be had, in a line; empty where it can. Nothing is fetched but what an index says of it."""
    limits = {"UV_HTTP_TIMEOUT": "10", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_RETRIES": "1"}
    command = [uv, "pip", "install", "--python", PYTHON, "--no-deps", "--dry-run", *options, package]
    try:
        asked = quiet(command, dict(environment, **limits), PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS} s"
    return reason(asked) if asked.returncode else ""


def run_uv(uv, environment, *arguments):
    """`uv pip install --no-deps` into the environment; its own lines are shown."""
    command = [uv, "pip", "install", "--quiet", "--python", PYTHON, "--no-deps", *arguments]
    subprocess.run([str(word) for word in command], env=environment, check=True)


def install_all_by_pip(torch, given):
    """The second try, where no place that pip knows has uv."""
    also = ["--find-links" if Path(given).is_dir() else "--extra-index-url", given] if given else []
    limits = ["--timeout", "15", "--retries", "2"]
    asked = quiet([*pip_install(), *also, *limits, torch])
    if asked.returncode:
        raise Lacking(
            f"torch's CPU build ({torch}) was not found where pip looks ({reason(asked)}), and uv, which knows PyTorch's own "
            "index, can't be had either.\nGive TORCH_INDEX=<an index' address, or a folder with the wheel>, install uv, or "
            "tell pip where to look (index-url, find-links, proxy)."
        )
    say(f"installing {LOCK.name} by pip, which takes some minutes")
    subprocess.run([*pip_install(), *also, "-r", str(LOCK)], check=True)
    subprocess.run([*pip_install(), "--no-build-isolation", "-e", str(ROOT)], check=True)


def install_packages(packages):
    """Single packages into the environment that is there, from the same places."""
    uv = get_uv()
    if uv:
        pip = pip_settings()
        run_uv(uv, uv_environment(pip), *without_index(pip), *packages)
    else:
        subprocess.run([*pip_install(), *packages], check=True)


# --- commands ---------------------------------------------------------------------------------------------------------------


def quiet(command, environment=None, seconds=None):
    """Run a command and keep what it prints. A command that is not there counts as failed."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env=environment,
            timeout=seconds,
        )
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", str(error))


def reason(asked):
    """The line of a failed command's output that says why: its last cause, without addresses' passwords."""
    lines = [line.strip() for line in (asked.stderr or asked.stdout).splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith(("error", "cause", "because", "x ", "╰"))] or lines
    return hide_passwords(told[-1]) if told else "no reason given"


def hide_passwords(text):
    """`https://user:secret@host/` as `https://...@host/`."""
    return " ".join(
        word.partition("://")[0] + "://...@" + word.rpartition("@")[2] if "://" in word and "@" in word else word
        for word in text.split()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
