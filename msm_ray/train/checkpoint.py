"""Checkpoints of a training that is under way: every rank its shard, named when all are there, the last two kept."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from msm_ray.artifacts import settle, write_whole
from msm_ray.errors import StageError
from msm_ray.train import ranks

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

FOLDER, FACTS, TAG, KEPT = "checkpoints", "checkpoint.json", "state", 2


def save(engine: DeepSpeedEngine, out: Path, step: int, identity: str, *, frozen: bool) -> None:
    """Write `out/checkpoints/step-000050`: weights, optimizer, step. Called by all ranks after `step` steps.

    The shards go into a folder of another name that rank 0 renames when every rank has written; a crash in between
    leaves nothing that could be taken for a checkpoint. frozen: leave out parameters without gradient (a LoRA base).
    """
    whole = out / FOLDER / f"step-{step:06d}"
    partial = whole.with_suffix(".tmp")
    if dist.get_rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    engine.save_checkpoint(str(partial), TAG, save_latest=False, exclude_frozen_parameters=frozen)
    dist.barrier()
    for path in _share(partial):
        settle(path)  # the name below promises that all of it is on the disk
    dist.barrier()
    if dist.get_rank() == 0:
        facts = {"step": step, "identity": identity, "workers": dist.get_world_size()}
        write_whole(partial / FACTS, json.dumps(facts))
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)
        settle(whole.parent)
        for old in found(out)[:-KEPT]:
            shutil.rmtree(old)
    dist.barrier()


def found(out: Path) -> list[Path]:
    """Whole checkpoints, oldest first, in the order of their numbers."""
    folders = [p for p in (out / FOLDER).glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
    return sorted(folders, key=lambda p: int(p.name.removeprefix("step-")))


def resume(engine: DeepSpeedEngine, out: Path, identity: str, *, frozen: bool) -> int:
    """Load the newest checkpoint into the engine, on all ranks. Returns the steps done (0 without a checkpoint).

    Raises StageError when it belongs to other data or settings, to another number of workers, or cannot be read.
    """
    chosen: tuple[str, int] | None = ranks.from_first(lambda: _newest(out, identity))
    if chosen is None:
        return 0
    folder, step = chosen
    # A rank that failed inside of DeepSpeed's loading would leave the others waiting for it there.
    ranks.agree(lambda: _check_whole(Path(folder)))
    try:
        loaded, _ = engine.load_checkpoint(folder, TAG, load_module_strict=not frozen, load_lr_scheduler_states=False)
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, KeyError) as error:
        raise StageError(
            f"{folder}: checkpoint cannot be loaded ({error}); remove that folder to go on from the one before"
        ) from error
    if loaded is None:
        raise StageError(
            f"{folder}: not a checkpoint of this training; remove that folder to go on from the one before"
        )
    return step


def remove(out: Path) -> None:
    """Delete all checkpoints: the training is exported."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def _share(folder: Path) -> list[Path]:
    """This rank's share of a checkpoint's shards, whoever wrote them."""
    return sorted((folder / TAG).glob("*.pt"))[dist.get_rank() :: dist.get_world_size()]


def _check_whole(folder: Path) -> None:
    """torch's files are zip archives with their directory at the end: a cut-off one is none."""
    for path in _share(folder):
        if not zipfile.is_zipfile(path):
            raise StageError(f"{path}: cut off or damaged; remove {folder} to go on from the one before")


def _newest(out: Path, identity: str) -> tuple[str, int] | None:
    folders = found(out)
    if not folders:
        return None
    folder = folders[-1]
    facts = _facts(folder)
    if facts.get("identity") != identity:
        raise StageError(
            f"{folder}: checkpoint of other data or settings than this training's; remove {out / FOLDER} to start it anew, "
            "or restore the data and settings it was begun with"
        )
    workers = dist.get_world_size()
    if facts.get("workers") != workers:
        raise StageError(
            f"{folder}: written by {facts.get('workers')} workers, and there are {workers} now; go on with "
            f"cluster.training.workers={facts.get('workers')}, or remove {out / FOLDER} to start anew"
        )
    return str(folder), int(facts["step"])


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: not a checkpoint ({error}); remove that folder") from None
