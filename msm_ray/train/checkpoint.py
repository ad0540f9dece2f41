"""Checkpoints of a training that is under way: every rank its shard, named when all are there, the last two kept.

Names, sizes and digests of a checkpoint's files stand in its record and are compared before it is loaded: a damaged one
is told of and passed over for the one before. So is one that this ZeRO stage cannot read.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from msm_ray import storage, training_metrics
from msm_ray.errors import StageError
from msm_ray.train import ranks
from msm_ray.train.job import file_digest
from msm_ray.whole_files import settle, write_whole

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

FOLDER, FACTS, TAG, KEPT = "checkpoints", "checkpoint.json", "state", 2

Files = dict[str, dict[str, Any]]
"""A checkpoint's files: name below its folder -> size in bytes and SHA-256."""


def save(engine: DeepSpeedEngine, out: Path, step: int, identity: str, *, frozen: bool) -> None:
    """Write `out/checkpoints/step-000050`: weights, optimizer, metrics. Called by all ranks after `step` steps.

    The shards go into a folder of another name that rank 0 renames when every rank has written; a crash in between
    leaves nothing that could be taken for a checkpoint. frozen: leave out parameters without gradient (a LoRA base).
    """
    whole = out / FOLDER / f"step-{step:06d}"
    partial = whole.with_suffix(".tmp")
    if dist.get_rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        shutil.copyfile(out / training_metrics.FILE, partial / training_metrics.FILE)
    dist.barrier()
    engine.save_checkpoint(str(partial), TAG, save_latest=False, exclude_frozen_parameters=frozen)
    dist.barrier()
    shares = ranks.everyones(_settled(partial, _share(_files(partial))))
    if dist.get_rank() == 0:
        files = {name: facts for share in shares for name, facts in share.items()}
        files |= _settled(partial, [name for name in _files(partial) if name not in files])  # a listing came late
        facts = {
            "step": step,
            "identity": identity,
            "workers": dist.get_world_size(),
            "layout": _layout(engine),
            "files": files,
        }
        write_whole(partial / FACTS, json.dumps(facts))
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)
        settle(whole.parent)
        storage.mirror(whole, FACTS)  # under a root in a bucket: this node's disk may be lost
        for old in [folder for folder in found(out) if _step(folder) <= step][:-KEPT]:
            storage.forget(old, FACTS)
    dist.barrier()


def found(out: Path) -> list[Path]:
    """Checkpoints that were written whole, oldest first, in the order of their numbers."""
    folders = [p for p in (out / FOLDER).glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
    return sorted(folders, key=_step)


def resume(engine: DeepSpeedEngine, out: Path, identity: str, *, frozen: bool, say: Callable[[str], None]) -> int:
    """Load the newest checkpoint that is sound into the engine, on all ranks, and put its metrics back.

    Returns the steps done: 0 without a checkpoint, and where none can be read, which `say` is told. Raises StageError
    where one belongs to other data or settings, or to another number of workers.
    """
    ranks.from_first(lambda: storage.bring_back(out / FOLDER, FACTS, lambda names: names[-KEPT:]))
    folders = [Path(name) for name in ranks.from_first(lambda: [str(folder) for folder in found(out)])]
    for folder in reversed(folders):
        problem = _problem(engine, folder, out, identity)
        if problem is None:
            _load(engine, folder, frozen=frozen)
            ranks.from_first(partial(training_metrics.restore, out, folder))
            return _step(folder)
        say(f"{folder}: {problem}; going on without it")
    if folders:
        say(f"{out / FOLDER}: no checkpoint that can be read; the training starts from its parent")
    ranks.from_first(lambda: training_metrics.restore(out, None))
    return 0


def remove(out: Path) -> None:
    """Delete all checkpoints: the training is exported."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def _problem(engine: DeepSpeedEngine, folder: Path, out: Path, identity: str) -> str | None:
    """Why a checkpoint cannot be gone on from, the same on all ranks; each of them reads its share of the files."""
    facts: Mapping[str, Any] = ranks.from_first(lambda: _facts(folder))
    if not facts:
        return "not a checkpoint: its record cannot be read"
    ranks.agree(lambda: _check_belongs(facts, folder, out, identity))
    if facts.get("layout") != _layout(engine):
        return f"written with {facts.get('layout')}, which {_layout(engine)} cannot read"
    files: Files = facts.get("files") or {}
    if not files:
        return "its record names no files"
    damaged = [name for share in ranks.everyones(_damaged(folder, files)) for name in share]
    return f"damaged ({', '.join(sorted(damaged))})" if damaged else None


def _check_belongs(facts: Mapping[str, Any], folder: Path, out: Path, identity: str) -> None:
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


def _load(engine: DeepSpeedEngine, folder: Path, *, frozen: bool) -> None:
    """What is whole and of this stage loads; where it does not on some rank, that rank's error ends all of them."""
    try:
        loaded, _ = engine.load_checkpoint(
            str(folder), TAG, load_module_strict=not frozen, load_lr_scheduler_states=False
        )
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, KeyError) as error:
        raise StageError(
            f"{folder}: checkpoint cannot be loaded ({error}); remove that folder to go on from the one before"
        ) from error
    if loaded is None:
        raise StageError(
            f"{folder}: not a checkpoint of this training; remove that folder to go on from the one before"
        )


def _layout(engine: DeepSpeedEngine) -> str:
    """How shards lie in files: by the stage and by who optimizes (in bf16 stage 1 has one of its own, unless offloaded)."""
    return f"zero_stage {int(engine.zero_optimization_stage())} ({type(engine.optimizer).__name__})"


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _share(names: list[str]) -> list[str]:
    """This rank's share of a checkpoint's files, whoever wrote them."""
    return names[dist.get_rank() :: dist.get_world_size()]


def _settled(folder: Path, names: list[str]) -> Files:
    """Have files put on the disk, which the checkpoint's name will promise; their sizes and digests."""
    for name in names:
        settle(folder / name)
    return {name: {"size": (folder / name).stat().st_size, "sha256": file_digest(folder / name)} for name in names}


def _damaged(folder: Path, files: Files) -> list[str]:
    """This rank's share of the files that are not what was written. Sizes tell of most damage before a byte is read."""
    return [name for name in _share(sorted(files)) if not _is_whole(folder / name, files[name])]


def _is_whole(path: Path, facts: Mapping[str, Any]) -> bool:
    try:
        return path.stat().st_size == facts["size"] and file_digest(path) == facts["sha256"]
    except OSError:
        return False


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
