"""The data stages of an experiment, outline to blocks: run in processes that are killed, and what is compared of what they left.

As a program, `python data_stages.py AT_SIZE LIVES_FOR FILE [key=value ...]`, it is `msm` up to blocks, with documents and calls
by Ray's workers from AT_SIZE on. It is killed when it would put the next file after LIVES_FOR others of a stage in its place
(0: never).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from msm_ray import cli
from msm_ray.commands import experiments
from msm_ray.corpus.blocks import read_blocks
from msm_ray.generate import desk, documents
from msm_ray.graph.store import ArtifactStore
from msm_ray.rows.tables import read_rows, read_table_rows

ROOT = Path(__file__).parents[1]
KINDS = ("outline", "documents", "corpus", "replay", "written-chats", "chats", "blocks")
PATIENCE = 600.0
FEWEST_CALLS = 24
"""Requests for which workers are begun, some seconds each time."""


@dataclass(frozen=True)
class Way:
    """How a run is done, none of which may change what comes of it.

    at_size: documents from which on Ray's workers write, and requests of a step from which on they ask.
    """

    batch_size: int
    in_flight: int
    workers: int
    at_size: int

    @property
    def settings(self) -> list[str]:
        """As they stand on a command line."""
        batches = {"batch_size": self.batch_size, "in_flight": self.in_flight}
        said = [f"{each}.{name}={value}" for each in ("writer", "documents") for name, value in batches.items()]
        return [*said, f"cluster.generation.workers={self.workers}"]

    @property
    def rows_at_once(self) -> int:
        """Rows that are with an endpoint at the same time."""
        return self.batch_size * self.in_flight * self.workers


@dataclass(frozen=True)
class Run:
    """An experiment that is run in some way below a root, as often as it takes."""

    file: Path
    root: Path
    way: Way

    def begin(self, lives_for: int = 0, *more: str) -> subprocess.Popen[bytes]:
        """Begin it, or go on with it, in a process of its own."""
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [environment.get("PYTHONPATH")])]
        environment |= {"PYTHONPATH": os.pathsep.join(paths)}
        words = [sys.executable, __file__, str(self.way.at_size), str(lives_for), str(self.file), f"root={self.root}"]
        with self.log.open("a") as log:
            return subprocess.Popen([*words, *self.way.settings, *more], stdout=log, stderr=log, env=environment)

    @property
    def log(self) -> Path:
        """What it said."""
        return self.root.parent / f"{self.root.name}.log"

    def finish(self, *more: str) -> None:
        """To its end."""
        code = self.begin(0, *more).wait(PATIENCE)
        assert code == 0, self.log.read_text()[-3000:]

    def finish_in_lives_of(self, files: int) -> int:
        """To its end by lives that each put so many files in their places, drafts of stages (one each) among them; starts no Ray.

        Returns how many it took.
        """
        for lives in range(1, 100):
            code = self.begin(files).wait(PATIENCE)
            if code == 0:
                return lives
            assert code == -signal.SIGKILL, self.log.read_text()[-3000:]
        raise AssertionError("it does not come to an end")

    def killed_when(self, ready: Callable[[], bool], all_of_it: bool = True) -> None:
        """Begin it, or go on, until something is so; then it is killed, and all below it unless it alone is to be."""
        process, deadline = self.begin(), time.monotonic() + PATIENCE
        while not ready():
            assert process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, "too slow"
            time.sleep(0.01)
        below = psutil.Process(process.pid).children(recursive=True) if all_of_it else []
        for one in [psutil.Process(process.pid), *below]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


# What is compared ------------------------------------------------------------------------------------------------------


def left_by(root: Path) -> dict[str, Any]:
    """What a run left, by stage: ids in their order where that is part of a stage, texts, and how the others were settled."""
    return {f"{a.stage}/{a.name}": READERS[a.stage](a.folder) for a in ArtifactStore(root).all() if a.stage in READERS}


def asked_and_settled(root: Path) -> dict[str, list[str]]:
    """The ids of documents, each as often as it was settled: all that is the same of a writer that samples."""
    return {
        folder.name.partition("@")[0]: sorted(
            row["id"] for part in ("data", "rejected") for row in read_rows(folder / part, ["id"])
        )
        for folder in (root / "documents").iterdir()
    }


def _outline(folder: Path) -> Any:
    return (folder / "outline.yaml").read_text("utf-8")


def _documents(folder: Path) -> Any:
    accepted = sorted((row["id"], row["text"]) for row in read_rows(folder / "data"))
    rejected = {row["id"] for row in read_rows(folder / "rejected")} - {key for key, _ in accepted}
    return accepted, sorted(rejected)


def _corpus(folder: Path) -> Any:
    return [(row["id"], row["text"]) for row in read_rows(folder / "data")], _left_out(folder)


def _chats(folder: Path) -> Any:
    return [(row["id"], row["messages"]) for row in read_rows(folder / "data")]


def _written_chats(folder: Path) -> Any:
    return sorted(_chats(folder), key=lambda row: row[0]), _left_out(folder)


def _left_out(folder: Path) -> list[tuple[str, str]]:
    file = folder / "rejected.parquet"
    rows = read_table_rows(file, ["id", "reason"]) if file.exists() else []
    return sorted((row["id"], row["reason"]) for row in rows)


def _blocks(folder: Path) -> Any:
    blocks = read_blocks(folder)
    return [(blocks.origins(number), blocks[number].ids.tolist()) for number in range(len(blocks))]


READERS: Mapping[str, Callable[[Path], Any]] = {
    "outline": _outline,
    "documents": _documents,
    "corpus": _corpus,
    "written-chats": _written_chats,
    "chats": _chats,
    "blocks": _blocks,
}


# The program -----------------------------------------------------------------------------------------------------------


def _dies_after(files: int, root: Path) -> None:
    """Have this process killed when it would put one more file than these below a stage's folder in its place."""
    left, stages = files, tuple(f"{root}/{kind}/" for kind in KINDS)

    def count(event: str, details: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "os.rename" and str(details[1]).startswith(stages):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main() -> None:
    """`msm` up to blocks."""
    _, at_size, lives_for, file, root, *more = sys.argv
    documents.AT_SIZE = int(at_size)
    desk.AT_SIZE = max(FEWEST_CALLS, int(at_size))
    if int(lives_for):
        _dies_after(int(lives_for), Path(root.removeprefix("root=")))
    experiments._runner("data", "blocks", "Run up to the blocks.")
    sys.argv = ["msm", "data", file, root, *more]
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
