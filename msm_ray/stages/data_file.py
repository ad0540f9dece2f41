"""A data file that an experiment names: what it is, is what it holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from msm_ray.engines.replay import recording_files
from msm_ray.errors import SettingsError


@dataclass(frozen=True)
class DataFile:
    """A file and the digest of its bytes when the experiment was read. Equal bytes under another path are the same."""

    path: str
    digest: str

    def identity(self) -> dict[str, str]:
        """Its last name, which cards show, and its digest."""
        return {"file": Path(self.path).name, "digest": self.digest}

    def __str__(self) -> str:
        return self.path


def data_file(path: str) -> DataFile:
    """The file at a path, or a folder of recordings, its digest over their names and bytes. Raises SettingsError without one."""
    try:
        if not Path(path).is_dir():
            return DataFile(path, hashlib.sha256(Path(path).read_bytes()).hexdigest())
        files = recording_files(Path(path))
        digests = [f"{each.name}\0{hashlib.sha256(each.read_bytes()).hexdigest()}\n" for each in files]
        return DataFile(path, hashlib.sha256("".join(digests).encode()).hexdigest())
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); paths are taken from the working directory"
        ) from None
