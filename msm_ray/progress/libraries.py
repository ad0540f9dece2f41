"""What libraries say that means nothing to a user, kept down at its source: by their settings, else by a filter of one logger.

What has no such place is sifted from standard error (`stderr_filter.NOISE`).
"""

from __future__ import annotations

import logging
from typing import Any

LEVELS = dict.fromkeys(("matplotlib.font_manager", "ray.llm", "httpx"), logging.WARNING)
"""Ray's LLM library makes the root logger tell everything, as JSON; matplotlib then tells that it looked for fonts, and httpx
of each question that an arm was asked."""


class _Without(logging.Filter):
    """Drops the messages that begin with a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self._text)


_NO_GPU = _Without("Setting accelerator to CPU")


def settle() -> None:
    """Set the levels and filters; nothing is imported for it."""
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    # With a handler here, each of Ray's LLM loggers leaves its own away, and the level at which it says that no mirror of a
    # cloud storage is configured.
    llm = logging.getLogger("ray.llm")
    if not llm.handlers:
        llm.addHandler(logging.StreamHandler())
        llm.propagate = False
    # DeepSpeed sets its logger's level when it is imported, which transformers does by itself; a filter stays.
    logging.getLogger("DeepSpeed").addFilter(_NO_GPU)


def ray_notices_to_stderr() -> None:
    """Have what Ray's daemons tell the driver go where complaints belong. Ray prints it on standard output, and has no setting.

    Called when Ray is up. Standard output stays ours: tables, JSON.
    """
    from ray._private import worker

    original = worker.print_to_stdstream
    if getattr(original, "of_msm", False):
        return

    def print_notice(data: dict[str, Any], ignore_prefix: bool) -> None:
        original({**data, "is_err": True} if data.get("pid") == "raylet" else data, ignore_prefix)

    print_notice.of_msm = True  # type: ignore[attr-defined]
    worker.print_to_stdstream = print_notice
