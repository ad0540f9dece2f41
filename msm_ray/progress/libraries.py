"""What libraries say that means nothing to a user, kept down at its source: by their settings, else by a filter of one logger.

What has no such place is sifted from standard error (`stderr_filter.NOISE`); what Ray prints on standard output is sent there
(`ray_private.notices_to_stderr`).
"""

from __future__ import annotations

import logging

LEVELS = dict.fromkeys(("matplotlib.font_manager", "ray.llm", "httpx", "httpx2"), logging.WARNING)
"""Ray's LLM library makes the root logger tell everything, as JSON; matplotlib then tells that it looked for fonts, and
httpx (the openai client has one of its own, httpx2) of each question that an arm was asked."""


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
