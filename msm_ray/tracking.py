"""Weights & Biases behind one seam: offline by default, a null object when disabled, the same run id when a stage resumes.

One writer per run: whoever holds the tracker (the driver, or rank 0 of a training worker group).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msm_ray.config import TrackingSettings


@dataclass(frozen=True)
class RunName:
    """Which W&B run a stage is: group = experiment, job_type = kind of stage. Picklable, so that a worker can open it."""

    experiment: str
    kind: str
    stage: str
    version: int
    fingerprint: str
    folder: str
    settings: TrackingSettings

    @property
    def id(self) -> str:
        """Deterministic: the same stage with the same settings is the same run, whoever resumes it and when."""
        parts = (self.experiment, self.kind, self.stage, str(self.version), self.fingerprint)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Tracker:
    """Where a stage's numbers go. This one keeps nothing; `open_run` gives one that does where tracking is on."""

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers of one step."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Numbers of the whole run."""

    def table(self, name: str, columns: list[str | int], rows: list[list[Any]]) -> None:
        """A table."""


class _WandbTracker(Tracker):
    def __init__(self, run: Any):
        self._run = run

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        with _never_fatal():
            self._run.log(dict(values), step=step)

    def summary(self, values: Mapping[str, Any]) -> None:
        with _never_fatal():
            self._run.summary.update(dict(values))

    def table(self, name: str, columns: list[str | int], rows: list[list[Any]]) -> None:
        import wandb

        with _never_fatal():
            self._run.log({name: wandb.Table(columns=list(columns), data=rows)})


@contextlib.contextmanager
def _never_fatal() -> Iterator[None]:
    """A tracker that fails (no room, a lost service) is said and never stops a stage."""
    try:
        yield
    except Exception as error:
        logging.getLogger(__name__).warning("W&B did not take a record: %s", error)


def mode(settings: TrackingSettings) -> str:
    """WANDB_MODE wins over the settings; `dryrun` is W&B's old word for offline."""
    chosen = os.environ.get("WANDB_MODE", settings.mode)
    return {"dryrun": "offline"}.get(chosen, chosen)


def without_key(settings: TrackingSettings) -> str:
    """What to say before anything starts where W&B is to be online and no key is found; else an empty text.

    Looks where W&B looks: WANDB_API_KEY, WANDB_IDENTITY_TOKEN_FILE, .netrc, its own settings file. Nothing is asked for.
    """
    if mode(settings) != "online" or any(os.environ.get(n) for n in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return ""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    if any(host in _text(path) for path in _netrc_files()) or any(
        "api_key" in _text(path) for path in _settings_files()
    ):
        return ""
    return (
        f"W&B is to be online and there is no key for {host}: runs are kept offline, below the root, and `wandb sync` sends "
        "them later; set WANDB_API_KEY (or WANDB_MODE=offline)"
    )


def _netrc_files() -> list[Path]:
    given = os.environ.get("NETRC")
    return [Path(given)] if given else [_home() / ".netrc", _home() / "_netrc"]


def _settings_files() -> list[Path]:
    folder = os.environ.get("WANDB_CONFIG_DIR") or _home() / ".config/wandb"
    return [Path(folder) / "settings", Path("wandb/settings")]


def _home() -> Path:
    return Path(os.environ.get("HOME", "/"))  # a user id without a name has no other


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


@contextlib.contextmanager
def open_run(name: RunName, config: Mapping[str, Any] | None = None) -> Iterator[Tracker]:
    """The tracker of a stage's run. Tracking that cannot start never stops a stage: it is said once, and nothing is logged."""
    run = _start(name, config or {})
    if run is None:
        yield Tracker()
        return
    try:
        yield _WandbTracker(run)
    except BaseException:
        with _never_fatal():
            run.finish(exit_code=1)
        raise
    with _never_fatal():
        run.finish()


def _start(name: RunName, config: Mapping[str, Any]) -> Any | None:
    if mode(name.settings) == "disabled":
        return None
    try:
        import wandb

        Path(name.folder).mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            console="off", silent=True, x_disable_stats=True, x_disable_meta=True, save_code=False, disable_git=True
        )
        online = mode(name.settings) == "online"
        # A key that is missing would be asked for at the terminal, for ever.
        chosen = "offline" if online and not wandb.login(prompt=False, verify=False) else mode(name.settings)
        return wandb.init(
            project=name.settings.project,
            group=name.experiment,
            job_type=name.kind,
            name=f"{name.kind}/{name.stage}@{name.version}",
            id=name.id,
            resume="allow",
            mode=chosen,  # type: ignore[arg-type]
            dir=name.folder,
            config=dict(config),
            settings=quiet,
        )
    except Exception as error:  # a tracker's trouble (no network, no key) is no reason to lose a stage
        logging.getLogger(__name__).warning("W&B is off for %s/%s: %s", name.kind, name.stage, error)
        return None
