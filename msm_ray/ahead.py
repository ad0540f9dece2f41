"""What can be done of rows while more of them still come: of each file as soon as it is whole, by CPUs that nobody wants.

A stage that writes for hours leaves those behind it with nothing to do until its last row. Who will read its rows says what can
be done of some files alone (`FileWork`): documents are held against the rules, their texts become tokens. What is made lies
below `<root>/ahead` under names that say all that decides it, and is a shortcut and nothing else: who finds nothing there does
the same itself, and what comes of it is the same. So nothing here is part of an artifact, and a file that fails here fails
nobody.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any, Protocol

from msm_ray import ray_private, storage
from msm_ray.whole_files import write_whole

FOLDER, WHOLE = "ahead", "[!.]*.parquet"
SECONDS, SHARE = 2.0, 0.02
"""Between looks, and the share of the time that looking may take: a listing of a large folder, or of a bucket, is slow."""
LAST_SECONDS = 120.0
"""That pieces which were begun are waited for when no more rows come: who reads them would have to do them again."""

Note = Mapping[str, Any]


class FileWork(Protocol):
    """What can be done of some files of rows without the others. key: names all that decides what is made, the code included.

    piece: bytes of files that are worth a worker.
    """

    @property
    def key(self) -> str:
        """A name for a folder."""

    @property
    def piece(self) -> int:
        """How much is done together."""

    def do(self, files: Sequence[Path], stem: Path) -> Note:
        """Write files whose names begin with that of `stem`. Returns what there is to know of them, as JSON has it."""

    def told(self, notes: Sequence[Note]) -> str:
        """In a few words, what was found so far."""

    def alarm(self, notes: Sequence[Note]) -> str:
        """What somebody should know before more rows are paid for; "" where all is as it should be."""


@dataclass(frozen=True)
class Piece:
    """What was made of some files, in the order of `files` (name -> bytes). stem: how the names of what was made begin."""

    files: Mapping[str, int]
    stem: Path
    note: Note


def made_ahead(folder: Path, rows: Path) -> list[Piece]:
    """What lies in a work's folder and was made of files that are in `rows` now, each of them in one piece at most.

    A note that can't be read is none.
    """
    there = _files(rows)
    found: list[Piece] = []
    taken = set[str]()
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        files = told["files"]
        if files.items() <= there.items() and taken.isdisjoint(files):
            taken |= set(files)
            found.append(Piece(files, path.with_suffix(""), told["note"]))
    return found


def remove(root: Path) -> None:
    """Remove all that was made ahead below a root."""
    folder: Any = root / FOLDER
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.remove_below()


@dataclass
class _Track:
    """One work on the files of one stage. rows: their folder; running: pieces that are on their way."""

    rows: Path
    folder: Path
    work: FileWork
    begun: set[str] = field(default_factory=set)
    running: dict[Any, None] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    alarmed: bool = False

    def __post_init__(self) -> None:
        for piece in made_ahead(self.folder, self.rows):
            self.begun |= set(piece.files)
            self.notes.append(piece.note)

    def next(self, there: Mapping[str, int]) -> dict[str, int]:
        """Files for the next piece; none while there are too few."""
        found: dict[str, int] = {}
        held = 0
        for name in sorted(there.keys() - self.begun):
            found[name] = there[name]
            held += there[name]
            if held >= self.work.piece:
                return found
        return {}

    @cached_property
    def sent(self) -> Any:
        """The work, put into Ray's store once."""
        import ray

        return ray.put(self.work)


class Ahead:
    """Gives files to workers as they come. works: (folder of a stage's rows, folder for what is made, work)."""

    def __init__(self, works: Iterable[tuple[Path, Path, FileWork]] = ()):
        self.given = list(works)
        self._tracks: list[_Track] | None = None
        self._next = 0.0

    def tick(self) -> None:
        """Take what is done, and begin what can be begun; called again and again while rows come."""
        began = time.monotonic()
        if not self.given or began < self._next:
            return
        if self._tracks is None:
            self._tracks = [_Track(rows, folder, work) for rows, folder, work in self.given]
        for track in self._tracks:
            self._take(track, 0)
            if not track.alarmed and (said := track.work.alarm(track.notes)):
                track.alarmed = True
                warnings.warn(said, stacklevel=2)
        self._begin(self._tracks)
        now = time.monotonic()
        self._next = now + max(SECONDS, (now - began) / SHARE)

    def told(self) -> str:
        """In a few words, what was found so far."""
        said = [track.work.told(track.notes) for track in self._tracks or () if track.notes]
        return ", ".join(dict.fromkeys(said))

    def close(self) -> None:
        """No more rows come: what was begun is waited for."""
        deadline = time.monotonic() + LAST_SECONDS
        for track in self._tracks or ():
            while track.running and (left := deadline - time.monotonic()) > 0:
                self._take(track, left)

    def _begin(self, tracks: Sequence[_Track]) -> None:
        free = ray_private.whole_cpus_free()
        there = {track.rows: _files(track.rows) for track in tracks} if free else {}
        for track in tracks:
            while free and (files := track.next(there[track.rows])):
                track.begun |= set(files)
                track.running[_remote().remote(track.sent, track.rows, files, track.folder)] = None
                free -= 1

    def _take(self, track: _Track, seconds: float) -> None:
        """Take what of a track is done, waiting for a piece at most so long."""
        import ray

        if not track.running:
            return
        done, _ = ray.wait(list(track.running), num_returns=len(track.running) if not seconds else 1, timeout=seconds)
        for each in done:
            del track.running[each]
            try:
                track.notes.append(ray.get(each))
            except Exception as error:  # who reads these files meets it too, and says so then
                logging.getLogger(__name__).info("%s: not made ahead: %s", track.folder, error)


NOTHING_AHEAD = Ahead()


def _do(work: FileWork, rows: Path, files: Mapping[str, int], folder: Path) -> Note:
    """A piece, and its note last."""
    stem = folder / sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    note = work.do([rows / name for name in files], stem)
    write_whole(stem.with_suffix(".json"), json.dumps({"files": files, "note": note}))
    return note


@cache
def _remote() -> Any:
    import ray

    return ray.remote(num_cpus=1, max_retries=0)(_do)


def _files(rows: Path) -> dict[str, int]:
    """The files of rows that are whole: name -> bytes. Beside them writers have files that come and go, which nobody asks for."""
    if isinstance(rows, Path):
        return {path.name: path.stat().st_size for path in rows.glob(WHOLE)}
    return {name: size for name, size in storage.sizes(rows).items() if PurePath(name).match(WHOLE)}
