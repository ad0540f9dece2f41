"""Whether W&B is on, and whether there is a key: looked up where W&B looks, never asked for."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from msm_ray.tracking.settings import TrackingSettings

CLOUD = ("api.wandb.ai", "api.forge.coreweave.com")
"""Both names of W&B's own server: a key that is kept for one is found for the other."""


def mode(settings: TrackingSettings) -> str:
    """WANDB_MODE wins over the settings; `dryrun` is W&B's old word for offline."""
    chosen = os.environ.get("WANDB_MODE", settings.mode)
    return {"dryrun": "offline"}.get(chosen, chosen)


def host() -> str:
    """The server that is asked, as messages call it."""
    return _hosts()[0]


def _hosts() -> tuple[str, ...]:
    given = os.environ.get("WANDB_BASE_URL")
    return (urlsplit(given).hostname or given,) if given else CLOUD


def has_key() -> bool:
    """Whether W&B would find a key: WANDB_API_KEY, WANDB_IDENTITY_TOKEN_FILE, .netrc, its own settings file."""
    if any(os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    return any(name in _text(path) for path in _netrc_files() for name in _hosts()) or any(
        "api_key" in _text(path) for path in _settings_files()
    )


def without_key(settings: TrackingSettings) -> str:
    """What to say before anything starts where W&B is to be online and no key is found; else an empty text."""
    if mode(settings) != "online" or has_key():
        return ""
    return (
        f"W&B is to be online and there is no key for {host()}: runs are kept offline, below the root, and "
        "`msm report --wandb` sends them later; set WANDB_API_KEY (or WANDB_MODE=offline)"
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
