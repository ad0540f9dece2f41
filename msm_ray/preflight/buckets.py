"""A root in a bucket: whether it can be reached, who else writes there, and which stages don't run from one yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from msm_ray import storage
from msm_ray.errors import SettingsError
from msm_ray.preflight.finding import Finding
from msm_ray.preflight.proposal import Proposal
from msm_ray.storage.copies import CACHE

ELSEWHERE = ("rollouts", "verdicts", "report")
"""Kinds of stages that serve arms, keep Inspect's logs and read them again: not yet done from a bucket."""
ON_DISK = ("base", "items", "blocks", "checkpoint", "midtrain", "sft")
"""Kinds that are made in real files on a node's disk and then put into the bucket."""
TO_DO = "`msm train` runs from here; for these, copy the root into a folder that every node sees and give that as root="


def reached(proposal: Proposal) -> Iterator[Finding]:
    """The bucket is there and lists; whether another run seems to write below the root."""
    root = storage.place(proposal.settings.root)
    if isinstance(root, Path):
        return
    wrong = proposal.tried(("root",), lambda: storage.probe(root))[1]
    yield from wrong
    if not wrong and (who := storage.holder(root)):
        yield proposal.warning(
            ("root",), f"another msm run may be writing there ({who})", "wait for it, or give another root="
        )


def shared_cache(proposal: Proposal) -> Iterator[Finding]:
    """On a cluster, models, blocks and trainings are filled in a folder that all its nodes have to see."""
    root = storage.place(proposal.settings.root)
    if isinstance(root, Path) or "RAY_ADDRESS" not in os.environ or os.environ.get(CACHE):
        return
    yield proposal.lacking(
        ("root",), "on a cluster, models, blocks and trainings of a root in a bucket lie meanwhile in "
        f"{storage.local(root)}, which other nodes don't see", f"give {CACHE}=FOLDER, one that every node sees", stages=ON_DISK,
    )  # fmt: skip


def stages_elsewhere(proposal: Proposal) -> Iterator[Finding]:
    """Stages of the experiment that don't run from a bucket: those before them do."""
    if isinstance(storage.place(proposal.settings.root), Path) or not proposal.settings.arms:
        return
    what = f"a root in a bucket holds all up to the trained arms; {', '.join(ELSEWHERE)}, `msm serve` and `msm ask` need a folder"
    yield proposal.lacking(("root",), what, TO_DO, stages=ELSEWHERE)


def refuse_bucket(root: Path, what: str) -> None:
    """Raise SettingsError for what needs a folder."""
    if not isinstance(root, Path):
        raise SettingsError(f"{root}: {what} needs a root that is a folder; {TO_DO}")
