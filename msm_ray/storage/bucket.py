"""A path in a bucket, with the methods of `pathlib.Path` that artifacts need, over universal_pathlib and fsspec.

What is not as universal_pathlib has it, and why:

- Nothing is remembered of listings: another machine writes here too.
- A question that could not be answered raises: fsspec's `isfile` takes any error for a no, its `glob` for an empty folder, and
  what a run takes for absent it makes again, and pays for again.
- A file is put whole: fsspec commits what a `with` has written when it ends by an exception.
- Errors that no further try mends are ours, with what to do (`trouble.py`).
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from fnmatch import fnmatch, fnmatchcase
from types import SimpleNamespace
from typing import Any, ClassVar, Self

from upath.extensions import ProxyUPath

from msm_ray.storage import fence
from msm_ray.storage.listing import listed
from msm_ray.storage.put import Bytes, Text
from msm_ray.storage.trouble import explained

RETRIES = 8
"""Tries of a request in all, ever longer apart, and slower after a server has said 'slow down' (botocore's adaptive mode)."""
S3_CLIENT = {
    "retries": {"mode": "adaptive", "total_max_attempts": RETRIES},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 32,
}


KNOWN = 200_000
_put: dict[str, tuple[str, str]] = {}
"""What this process put last at a path: the server's tag of it, and its SHA-256. The newest `KNOWN` of them."""


def _options(scheme: str) -> dict[str, Any]:
    """What the library of a scheme is set up with; a server's address goes along to workers, credentials are each node's."""
    if scheme != "s3":
        return {"use_listings_cache": False}
    own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return {"use_listings_cache": False, "config_kwargs": S3_CLIENT, **({"endpoint_url": own} if own else {})}


def _explaining(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose errors say what to do."""

    @functools.wraps(method)
    def call(self: BucketPath, *args: Any, **options: Any) -> Any:
        try:
            return method(self, *args, **options)
        except Exception as error:
            if (told := explained(error, str(self))) is not None:
                raise told from error
            raise

    return call


class BucketPath(ProxyUPath):
    """One object of a bucket, or all objects below a prefix, which is a folder as long as there are any."""

    __slots__ = ()
    writable_modes: ClassVar[tuple[str, ...]] = ("w", "wb", "wt")

    def __init__(self, *args: Any, protocol: str | None = None, **options: Any) -> None:
        scheme = protocol or str(args[0]).partition(":")[0]
        super().__init__(*args, protocol=protocol, **{**_options(scheme), **options})

    @_explaining
    def _info(self) -> dict[str, Any] | None:
        """What the server says of it; None where nothing is there."""
        if (known := listed(self.path)) is not None:
            return known.info(self.path)
        try:
            return self.fs.info(self.path)
        except FileNotFoundError as error:
            if explained(error, str(self)) is not None:
                raise
            return None
        except OSError:
            self.fs.ls(self.path)  # the answer to a question about one object has no text: a listing says what is wrong
            raise

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is an object, or anything below it."""
        return self._info() is not None

    def is_file(self) -> bool:
        """Whether there is an object."""
        info = self._info()
        return info is not None and info["type"] == "file"

    def is_dir(self) -> bool:
        """Whether there is anything below it."""
        info = self._info()
        return info is not None and info["type"] == "directory"

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """`st_size` and `st_mtime`. Raises FileNotFoundError where nothing is there."""
        if (info := self._info()) is None:
            raise FileNotFoundError(str(self))
        changed = info.get("LastModified") or info.get("mtime") or info.get("updated")
        return SimpleNamespace(
            st_size=info["size"], st_mtime=changed.timestamp() if hasattr(changed, "timestamp") else 0.0
        )

    def lstat(self) -> Any:
        """The same: buckets have no links."""
        return self.stat()

    @_explaining
    def seconds_old(self) -> float:
        """Since it was put, by the server's own clock where it tells it: no two machines' clocks are compared."""
        if not hasattr(self.fs, "call_s3"):
            return time.time() - self.stat().st_mtime
        bucket, _, key = self.path.partition("/")
        said = self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        now = parsedate_to_datetime(said["ResponseMetadata"]["HTTPHeaders"]["date"])
        return (now - said["LastModified"]).total_seconds()

    def is_symlink(self) -> bool:
        """Buckets have none."""
        return False

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: folders are there with the first object in them. A bucket that is not there is not made by accident."""

    @_explaining
    def glob(self, pattern: str, **options: Any) -> Iterator[Self]:
        """What is there now by a pattern, in the order of names."""
        literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        if (known := listed(f"{self.path.rstrip('/')}/{literal}")) is not None:
            start = len(self.path.rstrip("/")) + 1
            return iter([self / path[start:] for path in known.glob(self.path.rstrip("/"), pattern)])
        found = [self]
        for part in pattern.split("/"):
            found = [folder / name for folder in found for name in folder._names() if fnmatchcase(name, part)]
        return iter(sorted(found, key=str))

    def _names(self) -> list[str]:
        """What lies in it, by a listing that raises where it can't be had: fsspec's own `glob` takes that for an empty folder."""
        folder = f"{self.path.rstrip('/')}/"
        try:
            listed = self.fs.ls(self.path, detail=False)
        except FileNotFoundError as error:
            if explained(error, str(self)) is not None:
                raise
            return []
        return [path.rstrip("/")[len(folder) :] for path in listed if path.startswith(folder) and path != folder]

    def rglob(self, pattern: str, **options: Any) -> Iterator[Self]:
        """Every object below it whose name fits a pattern, by one listing."""
        names = self.below()
        return iter([self / name for name in names if fnmatch(name.rpartition("/")[2], pattern)])

    @_explaining
    def below(self) -> dict[str, int]:
        """Every object below it, by one listing: name -> bytes."""
        folder = f"{self.path.rstrip('/')}/"
        known = listed(folder)
        found = self.found() if known is None else known.found
        inside = {path[len(folder) :]: info["size"] for path, info in found.items() if path.startswith(folder)}
        return dict(sorted((name, size) for name, size in inside.items() if name))

    @_explaining
    def found(self, start: str = "") -> dict[str, dict[str, Any]]:
        """What the server says of every object below it whose name there begins with `start`: path -> size and more."""
        return self.fs.find(self.path, detail=True, prefix=start)

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of objects below it that this process put, and that are still what it put; the rest has to be read."""
        listed, there, start = list(names), self.found(), self.path.rstrip("/")
        known = {name: _put.get(f"{start}/{name}", ("", "")) for name in listed}
        tags = {name: there.get(f"{start}/{name}", {}).get("ETag") for name in listed}
        return {name: digest for name, (tag, digest) in known.items() if tag and tag == tags[name]}

    def match(self, pattern: str, *, case_sensitive: bool | None = None) -> bool:
        """Whether its name fits; no pattern of ours has a folder in it."""
        return fnmatch(self.name, pattern)

    @_explaining
    def read_bytes(self) -> bytes:
        """All of it, by one request."""
        only = {"max_concurrency": 1} if self.protocol == "s3" else {}  # else s3fs asks for the size first
        return self.fs.cat_file(self.path, **only)

    @_explaining
    def read_range(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, by one request."""
        return self.fs.cat_file(self.path, start=start, end=end)

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        """All of it, line ends as Python reads them."""
        text = self.read_bytes().decode(encoding or "utf-8", errors or "strict")
        return re.sub("\r\n?", "\n", text) if newline is None else text

    @_explaining
    def write_bytes(self, data: bytes) -> int:
        """Put it whole, or not at all. Raises OutOfMeans where this process may not write there any more (`lease.py`)."""
        fence.check(self)
        said = self.fs.pipe_file(self.path, bytes(data))
        if isinstance(said, dict) and (tag := said.get("ETag")):
            _put[self.path] = (tag, hashlib.sha256(data).hexdigest())
            if len(_put) > KNOWN:
                del _put[next(iter(_put))]
        return len(data)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        """Put it whole, or not at all."""
        self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))
        return len(data)

    @_explaining
    def create(self, data: bytes) -> bool:
        """Put it where nothing is there yet; False where another was first. One of two that try at once is told so."""
        try:
            self.fs.pipe_file(self.path, data, mode="create")
        except FileExistsError:
            return False
        return True

    @_explaining
    def open(self, mode: str = "r", *args: Any, **options: Any) -> Any:
        """To be read in ranges, or written: it is put when the `with` ends without an exception, and not before."""
        if mode in self.writable_modes:
            return Bytes(self) if "b" in mode else Text(self)
        if "a" in mode or "x" in mode:
            raise io.UnsupportedOperation(f"{self}: nothing can be added to an object of a bucket")
        if mode == "r" and "encoding" not in options:
            options["encoding"] = "utf-8"
        return self.fs.open(self.path, mode, **options)

    @_explaining
    def unlink(self, missing_ok: bool = False) -> None:
        """Remove it; removing what is not there is no error of a bucket's either."""
        fence.check(self)
        if not missing_ok and not self.exists():
            raise FileNotFoundError(str(self))
        self.fs.rm_file(self.path)

    @_explaining
    def remove_below(self) -> None:
        """Remove every object below it."""
        fence.check(self)
        names = self.below()
        if names:
            self.fs.rm([f"{self.path.rstrip('/')}/{name}" for name in names])

    @_explaining
    def put_file(self, file: Any) -> None:
        """Put a local file here, in parts where it is large; parts of a put that fails are given up on the server too."""
        fence.check(self)
        self.fs.put_file(str(file), self.path)

    @_explaining
    def get_file(self, file: Any) -> None:
        """Bring it into a local file."""
        self.fs.get_file(self.path, str(file))

    def rename(self, *args: Any, **options: Any) -> Any:
        """Buckets have no such thing: a copy and a removal, between which anything may happen."""
        raise io.UnsupportedOperation(f"{self}: nothing can be renamed in a bucket")

    replace = rename
