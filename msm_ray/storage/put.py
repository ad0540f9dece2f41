"""Files of a bucket that are written bit by bit: put whole when the `with` ends, not at all when it ends by an exception."""

from __future__ import annotations

import io
from typing import Any


class _PutAtEnd:
    """What a file in memory does when it is closed: it is put, unless an exception ended the `with`."""

    _path: Any

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is not None:
            super().close()  # type: ignore[misc]
        self.close()

    def close(self) -> None:
        """Put it."""
        if not self.closed:  # type: ignore[attr-defined]
            content = self.getvalue()  # type: ignore[attr-defined]
            super().close()  # type: ignore[misc]
            self._path.write_bytes(content if isinstance(content, bytes) else content.encode())


class Bytes(_PutAtEnd, io.BytesIO):
    """Bytes that are put when they are closed."""

    def __init__(self, path: Any) -> None:
        super().__init__()
        self._path = path


class Text(_PutAtEnd, io.StringIO):
    """The same of text."""

    def __init__(self, path: Any) -> None:
        super().__init__(newline="")
        self._path = path
