"""The disk that packed blocks take: below the root, and on every node's own disk where they are copied to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from msm_ray.config import ExperimentSettings
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.memory import GIB
from msm_ray.preflight.proposal import Proposal
from msm_ray.preflight.training import Training, trainings

A_TOKEN = 4.3
"""Bytes of a block a token: 4 for its id; lengths, spans of loss and rows' ids make up the rest (docs/results/blocks.md)."""


def blocks_of(training: Training) -> float:
    """Bytes of a training's blocks, at most; 0 where its source can't be read."""
    return training.blocks[1] * training.how.sequence_length * A_TOKEN if training.blocks else 0.0


def below_root(all_trainings: list[Training]) -> float:
    """Bytes of all blocks, and of the tokens of the largest while they are not packed yet."""
    sizes = [blocks_of(training) for training in all_trainings]
    return sum(sizes) + max(sizes, default=0.0)


def on_nodes(proposal: Proposal) -> Iterator[Finding]:
    """The largest set of blocks against what is free where nodes keep their copies; of other machines nothing is known here."""
    settings = proposal.settings
    if (cache := settings.cluster.node_cache) is None:
        return
    largest = max(map(blocks_of, proposal.once(trainings)), default=0.0)
    at = ("cluster", "node_cache")
    if "RAY_ADDRESS" in os.environ:
        yield proposal.not_checked(at, f"about {largest / GIB:,.1f} GiB of every node's disk are needed at {cache}")
        return
    folder = Path(cache).expanduser().absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield proposal.lacking(
            at, f"nothing can be written below {there}", "name another folder", stages=_kinds(settings)
        )
    elif (free := shutil.disk_usage(there).free) < largest:
        yield proposal.lacking(
            at, f"about {largest / GIB:,.1f} GiB of blocks are copied there and {free / GIB:,.1f} are free at {cache}",
            "make room, or name another folder", stages=_kinds(settings),
        )  # fmt: skip


def _kinds(settings: ExperimentSettings) -> tuple[str, ...]:
    """The stages that read blocks."""
    return ("midtrain", "sft") if settings.arms else ()
