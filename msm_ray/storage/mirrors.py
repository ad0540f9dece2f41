"""What a stage that is filled on a node's disk (`copies.desk`) also keeps in the bucket before it is committed: its checkpoints.

So the loss of a node costs what came after the last one. Each is a folder with a file that is written last; in the bucket that
file is put last too, and a folder without it is none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from msm_ray.storage.copies import home
from msm_ray.storage.folders import AT_ONCE, sizes


def _twin(folder: Path) -> Any:
    """Where a folder inside a desk lies in the bucket; None for a folder that is in none."""
    for desk in (each for each in folder.parents if "@" in each.name):  # an artifact's folder has its version there
        if (target := home(desk)) is not None:
            return target / folder.relative_to(desk).as_posix()
    return None


def move_in(folder: Path, target: Path) -> None:
    """Give a folder on this node's disk its place: its name, or in a bucket its files there, all of them or none."""
    if isinstance(target, Path):
        folder.rename(target)
        return
    bucket: Any = target
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: (bucket / name).put_file(folder / name), sizes(folder)))
    except BaseException:
        bucket.remove_below()
        raise


def mirror(folder: Path, last: str) -> None:
    """Put a folder of a desk into the bucket, the file `last` when all others are there. Nothing to do for any other folder."""
    if (twin := _twin(folder)) is None:
        return
    names = [name for name in sizes(folder) if name != last]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda name: (twin / name).put_file(folder / name), names))
    (twin / last).put_file(folder / last)


def forget(folder: Path, last: str) -> None:
    """Remove a folder here and in the bucket, the file `last` first there."""
    if (twin := _twin(folder)) is not None:
        (twin / last).unlink(missing_ok=True)
        twin.remove_below()
    shutil.rmtree(folder)


def bring_back(folder: Path, last: str, newest: Callable[[list[str]], list[str]]) -> None:
    """Bring folders below one of a desk back from the bucket, where this node has none: it is another than began the work.

    newest: of the names of those that are whole, the ones that are wanted.
    """
    twin = _twin(folder)
    if twin is None or any(folder.glob(f"*/{last}")):
        return
    there = sizes(twin)
    whole = sorted({name.partition("/")[0] for name in there if name.count("/") == 1 and name.endswith(f"/{last}")})
    for name in newest(whole):
        partial = folder / f".{name}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        for file in (each.partition("/")[2] for each in there if each.startswith(f"{name}/")):
            (partial / file).parent.mkdir(parents=True, exist_ok=True)
            (twin / name / file).get_file(partial / file)
        partial.rename(folder / name)
