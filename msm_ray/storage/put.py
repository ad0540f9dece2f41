"""Files of a bucket that are written bit by bit: put whole when the `with` ends, not at all when it ends by an exception."""

from __future__ import annotations

import io
from typing import Any


class Bytes(io.BytesIO):
    """What is written, put when it is closed, unless an exception ended the `with`."""

    def __init__(self, path: Any) -> None:
        super().__init__()
        self._path = path

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is not None:
            super().close()
        self.close()

    def close(self) -> None:
        """Put it."""
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._path.write_bytes(content)


class Text(io.StringIO):
    """The same of text."""

    def __init__(self, path: Any) -> None:
        super().__init__(newline="")
        self._path = path

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is not None:
            super().close()
        self.close()

    def close(self) -> None:
        """Put it."""
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._path.write_text(content)
